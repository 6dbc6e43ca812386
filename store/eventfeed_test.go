package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// fedTo reads changes from pos to the end, and checks their order and the bound of each answer.
func fedTo(h *harness, pos ChangePos, accounts ...AccountID) (ids []string, _ ChangePos) {
	h.Helper()
	for {
		f, err := h.ChangeLog().Read(pos, accounts)
		if err != nil || len(f.Unread) > 0 || len(f.Events) > feedEvents {
			h.Fatalf("%d events, %v, %v", len(f.Events), f.Unread, err)
		}
		for _, e := range f.Events {
			ids = append(ids, e.ID)
		}
		if pos = f.Next; !f.More {
			if !slices.IsSorted(ids) {
				h.Errorf("the order is not that of ids: %v", ids)
			}
			return ids, pos
		}
	}
}

// ofAll is the ids of all events after one, by the queries of the accounts.
func ofAll(h *harness, after string, accounts ...AccountID) (ids []string) {
	h.Helper()
	for _, a := range accounts {
		for e, err := range h.Events(EventQuery{Account: a}) {
			if err != nil {
				h.Fatal(err)
			}
			if e.ID > after {
				ids = append(ids, e.ID)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// A reader that follows the changes sees each one once, in order, whoever's it is: before the
// chain begins and after it, of accounts that are deleted, over clocks that are put back by
// hours, and in parts that are smaller than what waits.
func TestChangesInOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	h := begun(t)
	accounts := []AccountID{DefaultAccount}
	for i := range 5 {
		id := AccountID(fmt.Sprint("acct_", i))
		h.must(&Command{Account: id, Change: &AccountCreate{Account: Account{ID: id}}})
		accounts = append(accounts, id)
	}
	n := 0
	act := func(k int) {
		for range k {
			c := create(fmt.Sprint("k", n))
			c.Account = accounts[r.IntN(len(accounts))]
			h.must(c)
			n++
			switch r.IntN(8) {
			case 0:
				h.at = h.at.Add(-3 * time.Hour)
			case 1:
				h.at = h.at.Add(2 * time.Hour)
			case 2:
				h.at = h.at.Add(time.Second)
			}
		}
	}
	all, pos := fedTo(h, ChangePos{})
	if want := ofAll(h, "", accounts...); !slices.Equal(all, want) {
		t.Fatalf("before the chain: %v, want %v", all, want)
	}
	check := func(what string) {
		t.Helper()
		from := pos.ID
		var got []string
		got, pos = fedTo(h, pos)
		if want := ofAll(h, from, accounts...); !slices.Equal(got, want) {
			t.Fatalf("%s: %d events, want %d\n%v\n%v", what, len(got), len(want), got, want)
		}
		if f, err := h.ChangeLog().Read(pos, nil); err != nil || len(f.Events) > 0 || f.More || f.Next != pos {
			t.Fatalf("%s: at the end: %+v, %v", what, f, err)
		}
	}
	h.must(&Command{Change: &AuditKey{Seed: make([]byte, 32), First: true}})
	check("the chain begins")
	for range 40 {
		act(1 + r.IntN(20))
		if r.IntN(2) == 0 {
			h.reopen()
		}
		check("some events")
	}
	before := pos
	act(2*feedEvents + 500)
	check("more than an answer holds")
	some, _ := fedTo(h, before, accounts[1], accounts[3], "acct_none")
	if want := ofAll(h, before.ID, accounts[1], accounts[3]); !slices.Equal(some, want) {
		t.Errorf("of two accounts: %d events, want %d", len(some), len(want))
	}
	h.must(&Command{Account: "acct_4", Change: &AccountDelete{}})
	check("an account was deleted")
	if end := h.ChangeLog().End(h.at); end.After(pos) == pos.After(end) || end.Seq != pos.Seq {
		t.Errorf("the end is %+v, a reader of all is at %+v", end, pos)
	}
}

// A damaged row is named, and the events of other rows do not wait for it.
func TestChangesPastDamage(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AuditKey{Seed: make([]byte, 32), First: true}})
	_, pos := fedTo(h, ChangePos{})
	h.must(&Command{Account: "acct_a", Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	for i := range 3 {
		h.must(create(fmt.Sprint("k", i)))
	}
	want := ofAll(h, pos.ID, "acct_a", DefaultAccount)
	var rows [][]byte
	if err := h.scan(accountRows(rowEvent, DefaultAccount), func(row, _ []byte) error {
		rows = append(rows, slices.Clone(row))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Set(rows[len(rows)-2], []byte{9}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := h.ChangeLog().Read(pos, nil)
	if err != nil || len(f.Unread) != 1 || len(f.Events) != len(want)-1 {
		t.Fatalf("%d events of %d, unread %v, %v", len(f.Events), len(want), f.Unread, err)
	}
	if f, err = h.ChangeLog().Read(f.Next, nil); err != nil || len(f.Unread) > 0 || len(f.Events) > 0 {
		t.Errorf("after it: %+v, %v", f, err)
	}
}
