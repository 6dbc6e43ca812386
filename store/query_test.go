package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// keyFilters are queries over the keys of TestKeyFilters, with the keys that pass.
var keyFilters = []struct {
	name string
	q    KeyQuery
	keys string
}{
	{"all", KeyQuery{}, "a b c d e f"},
	{"live", KeyQuery{Type: ptr(Live)}, "a c d e f"},
	{"test", KeyQuery{Type: ptr(Test)}, "b"},
	{"active", KeyQuery{State: Active}, "a b"},
	{"disabled", KeyQuery{State: Disabled}, "c"},
	{"expired", KeyQuery{State: Expired}, "d"},
	{"revoked", KeyQuery{State: Revoked}, "e f"},
	{"environment", KeyQuery{Environment: ptr("prod")}, "b c"},
	{"no environment", KeyQuery{Environment: ptr("")}, "a d e f"},
	{"name", KeyQuery{Name: "d"}, "d"},
	{"creator", KeyQuery{CreatedBy: "other"}, "f"},
	{"two filters", KeyQuery{State: Revoked, CreatedBy: "op"}, "e"},
	{"no match", KeyQuery{Name: "none"}, ""},
	{"another account", KeyQuery{Account: "acct_a"}, "z"},
	{"no such account", KeyQuery{Account: "acct_none"}, ""},
}

// listed gives the names of all keys that q selects, page after page.
func listed(h *harness, q KeyQuery, between func()) string {
	h.Helper()
	var list []string
	for {
		page, next, err := h.Keys(q)
		if err != nil {
			h.Fatal(err)
		}
		if len(page) > q.Limit {
			h.Fatalf("a page of %d keys, the limit is %d", len(page), q.Limit)
		}
		for _, k := range page {
			list = append(list, strings.TrimPrefix(string(k.ID), "key_"))
		}
		if next == "" {
			return strings.Join(list, " ")
		}
		q.After = next
		between()
	}
}

// Every filter selects its keys and no others, in pages of any size.
func TestKeyFilters(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	key := func(name string, set func(*Key)) *Command {
		k := newKey(name)
		set(&k)
		return &Command{Change: &KeyCreate{Key: k}}
	}
	h.must(create("a"))
	h.must(key("b", func(k *Key) { k.Type, k.Environment = Test, "prod" }))
	h.must(key("c", func(k *Key) { k.Environment = "prod" }))
	h.must(&Command{Change: &KeyUpdate{ID: "key_c", Disabled: ptr(true)}})
	h.must(key("d", func(k *Key) { k.ExpiresAt = h.at.Add(time.Minute) }))
	h.must(create("e"))
	h.must(&Command{Change: &KeyRevoke{ID: "key_e"}})
	other := create("f")
	other.Actor = Actor{Type: ActorOperator, ID: "other"}
	h.must(other)
	h.must(&Command{Change: &KeyRevoke{ID: "key_f"}})
	z := create("z")
	z.Account = "acct_a"
	h.must(z)
	for _, tc := range keyFilters {
		for _, limit := range []int{1, 2, 100} {
			q := tc.q
			q.Limit, q.Now = limit, h.at.Add(time.Hour)
			if q.Account == "" {
				q.Account = DefaultAccount
			}
			if got := listed(h, q, func() {}); got != tc.keys {
				t.Errorf("%s, pages of %d: %q, want %q", tc.name, limit, got, tc.keys)
			}
		}
	}
}

// Keys that are added or revoked between two pages neither hide nor repeat one, and
// the added ones come last.
func TestKeyPagesWhileKeysAreAdded(t *testing.T) {
	h := begun(t)
	var want []string
	add := func() {
		name := fmt.Sprintf("k%d", len(want))
		h.must(create(name))
		want = append(want, name)
	}
	for range 6 {
		add()
	}
	got := listed(h, KeyQuery{Account: DefaultAccount, Limit: 2}, func() {
		if len(want) < 10 {
			add()
			h.must(&Command{Change: &KeyRevoke{ID: KeyID("key_k" + fmt.Sprint(len(want)-5))}})
		}
	})
	if got != strings.Join(want, " ") {
		t.Errorf("pages gave %s, want %v", got, want)
	}
}

// A list is not resumed after a key that is unknown or another account's.
func TestKeyCursorOfAnotherAccount(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	h.must(create("a"))
	for _, q := range []KeyQuery{
		{Account: DefaultAccount, After: "key_none", Limit: 1},
		{Account: "acct_a", After: "key_a", Limit: 1},
	} {
		if _, _, err := h.Keys(q); !errors.Is(err, ErrCursor) {
			t.Errorf("%s after %s: %v", q.Account, q.After, err)
		}
	}
}

// Accounts are listed by id, in pages that neither repeat nor lose one.
func TestAccountPages(t *testing.T) {
	h := begun(t)
	for _, id := range []AccountID{"acct_c", "acct_a", "acct_b"} {
		h.must(&Command{Change: &AccountCreate{Account: Account{ID: id}}})
	}
	want := []AccountID{"acct_a", "acct_b", "acct_c", DefaultAccount}
	slices.Sort(want)
	for limit := 1; limit <= 5; limit++ {
		var got []AccountID
		after := AccountID("")
		for more := true; more; more = after != "" {
			var page []*Account
			page, after = h.Accounts(after, limit)
			for _, a := range page {
				got = append(got, a.ID)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v, want %v", limit, got, want)
		}
	}
	if page, next := h.Accounts("acct_aa", 1); len(page) != 1 || page[0].ID != "acct_b" || next == "" {
		t.Errorf("after an id that does not exist: %v %q", page, next)
	}
}

// Every filter of events selects its events and no others; one position on, the
// answer goes on without the event at it.
func TestEventFilters(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	from := h.at.Add(time.Second)
	c := create("b")
	c.Actor = Actor{Type: ActorOperator, ID: "other", Name: "Otto"}
	h.must(c)
	h.must(&Command{Change: &KeyRevoke{ID: "key_a"}})
	var all []*Event
	for e, err := range h.Events(EventQuery{Account: DefaultAccount}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	pos := func(i int) EventPos { return EventPos{Time: all[i].Time, ID: all[i].ID} }
	for _, tc := range []struct {
		name string
		q    EventQuery
		want string
	}{
		{"all", EventQuery{}, "cluster.init , key.create key_a, key.create key_b, key.revoke key_a"},
		{"from, inclusive", EventQuery{From: from}, "key.create key_b, key.revoke key_a"},
		{"to, exclusive", EventQuery{To: from}, "cluster.init , key.create key_a"},
		{"key", EventQuery{Key: "key_a"}, "key.create key_a, key.revoke key_a"},
		{"type", EventQuery{EventType: EventDelete}, "key.revoke key_a"},
		{"action", EventQuery{Action: "key.create"}, "key.create key_a, key.create key_b"},
		{"user by id", EventQuery{User: "other"}, "key.create key_b"},
		{"user by name", EventQuery{User: "Otto"}, "key.create key_b"},
		{"success", EventQuery{Outcome: Success, Key: "key_b"}, "key.create key_b"},
		{"another outcome", EventQuery{Outcome: "denied"}, ""},
		{"after the second", EventQuery{After: pos(1)}, "key.create key_b, key.revoke key_a"},
		{"after the last", EventQuery{After: pos(3)}, ""},
		{"after, before from", EventQuery{After: pos(0), From: from}, "key.create key_b, key.revoke key_a"},
		{"another account", EventQuery{Account: "acct_none"}, ""},
	} {
		if tc.q.Account == "" {
			tc.q.Account = DefaultAccount
		}
		if got := strings.Join(actions(h, tc.q), ", "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	for _, err := range h.Events(EventQuery{}) {
		if err == nil {
			t.Error("a query without an account gives events")
		}
	}
}

// The census counts each key in one state, and none of a deleted account.
func TestCensus(t *testing.T) {
	h := begun(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		h.must(create(name))
	}
	h.must(&Command{Change: &KeyUpdate{ID: "key_b", Disabled: ptr(true)}})
	h.must(&Command{Change: &KeyUpdate{ID: "key_c", ExpiresAt: ptr(h.at.Add(time.Minute))}})
	h.must(&Command{Change: &KeyRevoke{ID: "key_d"}})
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	z := create("z")
	z.Account = "acct_a"
	h.must(z)
	h.must(&Command{Account: "acct_a", Change: &AccountDelete{}})
	var c Census
	var found []string
	err := h.scanRange([]byte{0}, []byte{0xff}, func(row, value []byte) error {
		k, err := c.Add(row, value, h.at.Add(time.Hour))
		if k != nil {
			found = append(found, k.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.accounts = nil
	if got, want := fmt.Sprintf("%+v", c), fmt.Sprintf("%+v", Census{Accounts: 1, Keys: 4, Active: 1, Disabled: 1, Expired: 1, Revoked: 1}); got != want {
		t.Errorf("census %s, want %s", got, want)
	}
	if !slices.Equal(found, []string{"a", "b", "c", "d"}) {
		t.Errorf("keys %v", found)
	}
	if _, err := c.Add(nil, nil, h.at); err == nil {
		t.Error("a row without a table is accepted")
	}
}
