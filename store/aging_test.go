package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAccountDeletion(t *testing.T) {
	h := begun(t)
	h.refused(Conflict, &Command{Change: &AccountDelete{}})
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	c := create("a")
	c.Account = "acct_a"
	k := h.must(c).Key
	r, _ := h.Lookup(k.Hash)
	h.must(&Command{Account: "acct_a", Change: &AccountDelete{}})
	if r.Account.Load() != nil {
		t.Error("a record in use still leads to its account")
	}
	if r, err := h.Lookup(k.Hash); r != nil || err != nil {
		t.Errorf("lookup: %+v %v", r, err)
	}
	if k, err := h.Key(k.ID); k != nil || err != nil {
		t.Errorf("key: %+v %v", k, err)
	}
	again := &Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}}
	h.refused(Conflict, again)
	h.refused(NotFound, c.again())
	h.reopen()
	if r, err := h.Lookup(k.Hash); r != nil || err != nil {
		t.Errorf("lookup after a restart: %+v %v", r, err)
	}
	if got := actions(h, EventQuery{Account: "acct_a"}); len(got) != 2 {
		t.Errorf("events: %q", got) // key.create and account.delete
	}
	h.at = h.at.Add(sweepEvery)
	h.must(create("b"))
	if d := dump(t, h.Store); strings.Contains(d, `"kkey_a"`) || strings.Contains(d, fmt.Sprintf("%q", hashRow(nil, &k.Hash))) {
		t.Errorf("the deleted account's keys are kept:\n%s", d)
	}
	h.at = h.at.AddDate(0, 0, 31)
	h.must(create("d"))
	h.at = h.at.Add(sweepEvery)
	h.must(again.again())
	if got := actions(h, EventQuery{Account: "acct_a"}); len(got) != 0 {
		t.Errorf("events of the one before: %q", got)
	}
}

func TestEventsGrowOld(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountUpdate{RetentionDays: ptr(7)}})
	h.must(create("a"))
	old := h.at
	h.at = h.at.AddDate(0, 0, 6)
	h.must(create("b"))
	if n := len(actions(h, EventQuery{Account: DefaultAccount})); n != 4 {
		t.Fatalf("%d events", n)
	}
	h.at = old.AddDate(0, 0, 7).Add(time.Minute)
	h.must(create("c"))
	if got := actions(h, EventQuery{Account: DefaultAccount}); !slices.Equal(got, []string{"key.create key_b", "key.create key_c"}) {
		t.Errorf("%q", got)
	}
}

func TestEventsInRanges(t *testing.T) {
	h := begun(t)
	const n = 3*eventChunk/2 + 1
	for i := range n {
		h.must(&Command{At: epoch.Add(time.Duration(i) * time.Second), Change: &KeyCreate{Key: newKey(fmt.Sprint(i))}})
	}
	all := actions(h, EventQuery{Account: DefaultAccount, Action: "key.create"})
	if len(all) != n {
		t.Fatalf("%d events of %d", len(all), n)
	}
	part := actions(h, EventQuery{Account: DefaultAccount, From: epoch.Add(10 * time.Second), To: epoch.Add(20 * time.Second), Action: "key.create"})
	if !slices.Equal(part, all[10:20]) {
		t.Errorf("%q", part)
	}
	var q EventQuery
	q.Account = DefaultAccount
	q.Action = "key.create"
	var paged []string
	for len(paged) < n {
		before := len(paged)
		for e := range h.Events(q) {
			paged = append(paged, e.Action+" "+string(e.KeyID))
			q.After = EventPos{e.Time, e.ID}
			if len(paged)-before == 100 {
				break
			}
		}
		if len(paged) == before {
			break
		}
	}
	if !slices.Equal(paged, all) {
		t.Errorf("%d events in pages", len(paged))
	}
	for _, err := range h.Events(EventQuery{}) {
		if err == nil {
			t.Error("a query without account must fail")
		}
	}
}
