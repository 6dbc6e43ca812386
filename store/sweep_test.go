package store

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// rowsIn counts the rows of a table.
func rowsIn(t *testing.T, h *harness, table byte) (n int) {
	t.Helper()
	if err := h.scanRange([]byte{table}, []byte{table + 1}, func(_, _ []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// imported gives an account n keys by one command.
func imported(h *harness, account AccountID, n int) []Key {
	in := &KeyImport{}
	for i := range n {
		k := newKey(fmt.Sprint(account, "_", i))
		k.Account = account
		in.Keys = append(in.Keys, k)
	}
	h.must(&Command{Account: account, Change: in})
	return in.Keys
}

// A round removes a bounded number of keys, of one deleted account at a time, and
// more only as entries were applied since; the rounds finish all of them.
func TestSweepIsBounded(t *testing.T) {
	h := begun(t)
	const keys = 3*sweepRows + 10
	for _, id := range []AccountID{"acct_a", "acct_b"} {
		h.must(&Command{Change: &AccountCreate{Account: Account{ID: id, Name: string(id)}}})
		imported(h, id, keys)
	}
	for _, id := range []AccountID{"acct_a", "acct_b"} {
		h.must(&Command{Account: id, Change: &AccountDelete{}})
	}
	left := rowsIn(t, h, rowKeyID)
	if left != 2*keys {
		t.Fatalf("%d keys", left)
	}
	rounds := 0
	for ; rowsIn(t, h, rowDeleted) > 0; rounds++ {
		if rounds > 20 {
			t.Fatal("the sweeper does not end")
		}
		h.at = h.at.Add(sweepEvery)
		index := h.index
		h.refused(NotFound, &Command{Account: "acct_none", Change: &AccountDelete{}}) // a refused command moves it on
		now := rowsIn(t, h, rowKeyID)
		if removed := left - now; removed > sweepRows+2*int(h.index-index+10) {
			t.Errorf("round %d removed %d keys", rounds, removed)
		}
		left = now
	}
	if left != 0 || rowsIn(t, h, rowHash) != 0 || rowsIn(t, h, rowKey) != 0 || rounds < 6 {
		t.Errorf("after %d rounds: %d keys, %d hashes, %d rows", rounds, left, rowsIn(t, h, rowHash), rowsIn(t, h, rowKey))
	}
	if n := rowsIn(t, h, rowEnding); n != 2 {
		t.Errorf("%d accounts whose events grow old", n)
	}
}

// Rounds keep their distance by the time of commands; a clock that went back far
// begins again, one that went back a little waits.
func TestSweepRhythm(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		sweep bool
	}{
		{0, false}, {sweepEvery - time.Second, false}, {sweepEvery, true}, {24 * time.Hour, true},
		{-time.Second, false}, {-clockBack + time.Second, false}, {-clockBack, true}, {-48 * time.Hour, true},
	} {
		h := begun(t)
		h.at = h.at.Add(sweepEvery)
		h.must(create("a")) // a round, and the first deletion is after it
		round := h.at
		h.must(&Command{At: round, Change: &AccountCreate{Account: Account{ID: "acct_a", Name: "a"}}})
		keys := imported2(h, round)
		h.must(&Command{At: round, Account: "acct_a", Change: &AccountDelete{}})
		h.do(&Command{At: round.Add(c.after), Account: "acct_none", Change: &AccountDelete{}})
		if swept := rowsIn(t, h, rowKeyID) == 1; swept != c.sweep {
			t.Errorf("%v after a round: swept is %v (of %d keys)", c.after, swept, keys)
		}
	}
}

// imported2 gives acct_a two keys at a time of its own.
func imported2(h *harness, at time.Time) int {
	in := &KeyImport{}
	for i := range 2 {
		k := newKey(fmt.Sprint("two", i))
		k.Account = "acct_a"
		in.Keys = append(in.Keys, k)
	}
	h.must(&Command{At: at, Account: "acct_a", Change: in})
	return len(in.Keys)
}

// Results of repeatable commands live for their retention and then go, with their
// rows by age; a repeat after it is a new command.
func TestOnceGrowsOld(t *testing.T) {
	h := begun(t)
	const n = sweepRows + 100
	for i := range n {
		c := create(fmt.Sprint(i))
		c.At, c.Once = epoch.Add(time.Second), &Once{Scope: hashOf(fmt.Sprint(i)), Body: hashOf("body")}
		h.must(c)
	}
	if got := rowsIn(t, h, rowOnce); got != n || rowsIn(t, h, rowOnceAge) != n {
		t.Fatalf("%d results", got)
	}
	h.at = epoch.Add(OnceRetention)
	h.must(create("before"))
	if got := rowsIn(t, h, rowOnce); got != n {
		t.Errorf("%d results are left before their time", got)
	}
	h.at = epoch.Add(OnceRetention + time.Minute)
	var left []int
	for range 4 {
		h.at = h.at.Add(sweepEvery)
		h.refused(NotFound, &Command{Account: "acct_none", Change: &AccountDelete{}})
		left = append(left, rowsIn(t, h, rowOnce))
	}
	if left[3] != 0 || rowsIn(t, h, rowOnceAge) != 0 || !slices.IsSortedFunc(left, func(a, b int) int { return b - a }) {
		t.Errorf("results left after each round: %v, by age %d", left, rowsIn(t, h, rowOnceAge))
	}
	c := create("again")
	c.Once = &Once{Scope: hashOf("0"), Body: hashOf("another body")}
	if r := h.must(c); r.Key == nil || r.Key.ID != "key_again" {
		t.Errorf("a scope that grew old: %+v", r)
	}
}

// Events go by each account's own retention, also those of deleted accounts, whose
// name is free again when nothing is left of them.
func TestEventsByRetention(t *testing.T) {
	h := begun(t)
	for id, days := range map[AccountID]int{"acct_short": 7, "acct_long": 90} {
		h.must(&Command{Change: &AccountCreate{Account: Account{ID: id, Name: "a", RetentionDays: days}}})
		h.must(&Command{Account: id, Change: &AccountUpdate{Name: ptr("b")}})
		h.must(&Command{Account: id, Change: &AccountDelete{}})
	}
	again := func(id AccountID) *Refusal {
		h.at = h.at.Add(sweepEvery)
		h.refused(NotFound, &Command{Account: "acct_none", Change: &AccountDelete{}})
		h.at = h.at.Add(sweepEvery)
		return h.do(&Command{Change: &AccountCreate{Account: Account{ID: id, Name: "again"}}}).Refusal
	}
	for _, c := range []struct {
		days       int
		id         AccountID
		free, done bool
	}{
		{6, "acct_short", false, false},
		{8, "acct_short", true, false},
		{89, "acct_long", false, false},
		{91, "acct_long", true, true},
	} {
		h.at = epoch.AddDate(0, 0, c.days)
		if r := again(c.id); (r == nil) != c.free {
			t.Errorf("after %d days: %s: %+v", c.days, c.id, r)
		}
		if n := rowsIn(t, h, rowEnding); c.done && n != 0 {
			t.Errorf("after %d days: %d accounts are left", c.days, n)
		}
	}
}
