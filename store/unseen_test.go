package store

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// merged gives the rows of a backup to u as a restore does, and returns the rows that it
// hands on.
func merged(t *testing.T, s *Store, u *Unseen) (rows map[string]string) {
	t.Helper()
	type pair struct{ row, value []byte }
	var all []pair
	var census Census
	err := s.scanRange([]byte{0}, beyondRows, func(row, value []byte) error {
		all = append(all, pair{bytes.Clone(row), bytes.Clone(value)})
		k, err := census.Add(row, value, u.To)
		if err != nil {
			return err
		}
		return u.Add(row, value, k)
	})
	if err != nil {
		t.Fatal(err)
	}
	u.Settle()
	rows = map[string]string{}
	last := ""
	add := func(row, value []byte) error {
		if string(row) <= last {
			t.Errorf("row %q comes after %q", row, last)
		}
		last = string(row)
		rows[last] = string(value)
		return nil
	}
	for _, p := range all {
		if err := u.Merge(p.row, p.value, add); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Merge(nil, nil, add); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if got, ok := rows[string(p.row)]; !ok || got != string(p.value) && p.row[0] != rowMonth {
			t.Errorf("row %q became %q, %v", p.row, got, ok)
		}
	}
	return rows
}

// The count of a month after a restore, by the limits and the time that the backup
// does not show, is as much as the minute's limit lets through, up to the month's limit.
func TestUnseen(t *testing.T) {
	to := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return to.Add(-d) }
	own := func(minute, burst, month int64) *Limits {
		return &Limits{PerMinute: &minute, Burst: &burst, PerMonth: &month}
	}
	tier := *limitOf(60, 10_000)
	type months struct{ account, key, budget int64 }
	for _, c := range []struct {
		name     string
		tier     Limits
		limits   *Limits // the key's own
		budget   *Money
		revoked  bool
		granted  months
		from, to time.Time
		want     months
	}{
		{"ten minutes", tier, nil, nil, false, months{account: 100}, ago(10 * time.Minute), to, months{account: 100 + 661}},
		{"nothing was granted", tier, nil, nil, false, months{}, ago(10 * time.Minute), to, months{account: 661}},
		{"no time", tier, nil, nil, false, months{account: 100}, to, to, months{account: 100 + 61}},
		{"a clock that went back", tier, nil, nil, false, months{account: 100}, to.Add(time.Hour), to, months{account: 100 + 61}},
		{"up to the limit", tier, nil, nil, false, months{account: 9_900}, ago(10 * time.Minute), to, months{account: 10_000}},
		{"at the limit", tier, nil, nil, false, months{account: 10_000}, ago(10 * time.Minute), to, months{account: 10_000}},
		{"no limit by the minute", Limits{PerMonth: ptr(int64(5_000))}, nil, nil, false, months{account: 1}, ago(time.Second), to, months{account: 5_000}},
		{"no limit by the month", Limits{PerMinute: ptr(int64(60))}, nil, nil, false, months{account: 7}, ago(time.Hour), to, months{account: 7}},
		{"only this month", tier, nil, nil, false, months{}, begin.AddDate(0, 0, -9), begin.Add(5 * time.Minute), months{account: 361}},
		{"in another zone", tier, nil, nil, false, months{}, begin.AddDate(0, 0, -9), begin.Add(5 * time.Minute).In(time.FixedZone("", -3600)), months{account: 361}},

		{"a key's own minute", tier, own(6, 9, 1_000), nil, false, months{key: 20}, ago(10 * time.Minute), to, months{661, 20 + 70, 0}},
		{"a minute without a burst", tier, limitOf(6, 1_000), nil, false, months{key: 20}, ago(10 * time.Minute), to, months{661, 20 + 67, 0}},
		{"the minute of its account", tier, limitOf(6_000, 1_000), nil, false, months{key: 20}, ago(10 * time.Minute), to, months{661, 20 + 661, 0}},
		{"no minute of its own", tier, &Limits{PerMonth: ptr(int64(300))}, nil, false, months{key: 20}, ago(10 * time.Minute), to, months{661, 300, 0}},
		{"no month of its own", tier, &Limits{PerMinute: ptr(int64(6))}, nil, false, months{}, ago(10 * time.Minute), to, months{account: 661}},
		{"a budget", tier, nil, ptr(Money(90)), false, months{budget: 5}, ago(time.Second), to, months{62, 0, 90}},
		{"a budget and a month", tier, own(6, 6, 50), ptr(Money(90)), false, months{key: 50, budget: 90}, ago(time.Second), to, months{62, 50, 90}},
		{"a revoked key", tier, own(6, 6, 50), ptr(Money(90)), true, months{key: 1, budget: 2}, ago(time.Hour), to, months{3_661, 1, 2}},
	} {
		h := begun(t)
		h.at = c.to.Add(-time.Minute)
		h.must(&Command{Change: &TierPut{Tier: Tier{Name: "free", Live: c.tier}}})
		k := newKey("a")
		k.Limits, k.MonthlyBudget = c.limits, c.budget
		h.must(&Command{Change: &KeyCreate{Key: k}})
		month := Month(c.to)
		bucket := func(key KeyID, budget bool) GrantAsk {
			return GrantAsk{Account: DefaultAccount, Type: Live, Key: key, Budget: budget, Month: month}
		}
		ask := func(a GrantAsk, want int64) {
			if a.Want = want; want > 0 {
				h.must(&Command{Change: &Grant{Asks: []GrantAsk{a}}})
			}
		}
		ask(bucket("", false), c.granted.account)
		ask(bucket(k.ID, false), c.granted.key)
		ask(bucket(k.ID, true), c.granted.budget)
		if c.revoked {
			h.must(&Command{Change: &KeyRevoke{ID: k.ID}})
		}
		rows := merged(t, h.Store, &Unseen{From: c.from, To: c.to})
		total := func(a GrantAsk) int64 {
			return unpackGranted([]byte(rows[string(monthRow(month, a.Account, a.Type, a.Budget, a.Key))]))
		}
		got := months{total(bucket("", false)), total(bucket(k.ID, false)), total(bucket(k.ID, true))}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Raised counts the months that went up, and no month goes down or beyond its limit,
// whatever was granted and whichever limits there are.
func TestUnseenOnlyRaises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := begun(t)
		limit := rapid.Ptr(rapid.Int64Range(1, 500), true)
		limits := func(name string) Limits {
			return Limits{PerMinute: limit.Draw(rt, name+" minute"), Burst: limit.Draw(rt, name+" burst"), PerMonth: limit.Draw(rt, name+" month")}
		}
		h.must(&Command{Change: &TierPut{Tier: Tier{Name: "free", Live: limits("live"), Test: limits("test")}}})
		var asks []GrantAsk
		for typ := range keyTypes {
			asks = append(asks, GrantAsk{Account: DefaultAccount, Type: typ})
		}
		for i := range rapid.IntRange(0, 4).Draw(rt, "keys") {
			k := newKey(string(rune('a' + i)))
			l := limits("key")
			k.Limits, k.Type = &l, KeyType(rapid.IntRange(0, 1).Draw(rt, "type"))
			k.MonthlyBudget = rapid.Ptr(rapid.Map(rapid.Int64Range(1, 500), func(n int64) Money { return Money(n) }), true).Draw(rt, "budget")
			h.must(&Command{Change: &KeyCreate{Key: k}})
			asks = append(asks, GrantAsk{Account: DefaultAccount, Type: k.Type, Key: k.ID}, GrantAsk{Account: DefaultAccount, Type: k.Type, Key: k.ID, Budget: true})
		}
		want := map[string]int64{} // the totals that were granted
		for i := range asks {
			asks[i].Month, asks[i].Want = Month(h.at), rapid.Int64Range(0, 600).Draw(rt, "want")
		}
		for i, g := range h.must(&Command{Change: &Grant{Asks: asks}}).Granted {
			want[string(monthRow(asks[i].Month, asks[i].Account, asks[i].Type, asks[i].Budget, asks[i].Key))] = g.Total
		}
		for i := range asks {
			asks[i].Want = unlimited
		}
		u := &Unseen{From: h.at, To: h.at.Add(time.Duration(rapid.IntRange(0, 600).Draw(rt, "seconds")) * time.Second)}
		rows := merged(t, h.Store, u)
		raised := 0
		for i, g := range h.must(&Command{Change: &Grant{Asks: asks}}).Granted { // Total is the limit, or unlimited
			row := monthRow(asks[i].Month, asks[i].Account, asks[i].Type, asks[i].Budget, asks[i].Key)
			got, before := unpackGranted([]byte(rows[string(row)])), want[string(row)]
			if got < before || got > g.Total || g.Total == unlimited && got != before {
				rt.Fatalf("%+v: %d after a restore, %d were granted, the limit is %d", asks[i], got, before, g.Total)
			}
			if got > before {
				raised++
			}
		}
		if u.Raised != raised {
			rt.Fatalf("%d months are said to be raised, %d are", u.Raised, raised)
		}
	})
}

func TestThrough(t *testing.T) {
	for _, c := range []struct {
		minute, burst int64
		span          time.Duration
		want          int64
	}{
		{0, 5, time.Hour, math.MaxInt64},
		{60, 60, 0, 61},
		{60, 10, 10 * time.Minute, 611},
		{1, 1, 30 * time.Second, 2},
		{1_000_000_000, 1, 31 * day, 1_000_000_000*31*24*60 + 2},
		{1 << 60, 1, time.Hour, math.MaxInt64}, // beyond the largest count
	} {
		if got := through(c.minute, c.burst, c.span); got != c.want {
			t.Errorf("%d a minute, burst %d, in %v: %d, want %d", c.minute, c.burst, c.span, got, c.want)
		}
	}
}

// A row that cannot be read ends the restore; nothing is taken for a limit.
func TestUnseenDamaged(t *testing.T) {
	for _, row := range [][]byte{named(rowAccount, "acct_a"), named(rowTier, "gold")} {
		u := &Unseen{To: epoch}
		if err := u.Add(row, []byte("{"), nil); err == nil {
			t.Errorf("row %q was read", row)
		}
	}
	u := &Unseen{To: epoch} // an account whose tier is not in the backup: the restore refuses it
	if err := u.Add(named(rowAccount, "acct_a"), []byte(`{"id":"acct_a","tier":"none"}`), nil); err != nil {
		t.Fatal(err)
	}
	u.Settle()
	err := u.Merge(nil, nil, func(row, _ []byte) error { t.Errorf("row %q was made", row); return nil })
	if err != nil || u.Raised != 0 {
		t.Errorf("%v, %d raised", err, u.Raised)
	}
	u = &Unseen{To: epoch, keys: make([]*Key, unseenMax)}
	k := newKey("a")
	k.MonthlyBudget = ptr(Money(1))
	if err := u.Add(nil, nil, &k); err == nil || !strings.Contains(err.Error(), "1000000") {
		t.Errorf("beyond the bound: %v", err)
	}
}
