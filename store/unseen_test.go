package store

import (
	"bytes"
	"fmt"
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

// The keys of a chain of rotations are counted as its first key, by the largest of the
// limits of those that were accepted after the backup, as long as one still works.
func TestUnseenCountsLineages(t *testing.T) {
	to := epoch.Add(12 * time.Hour)
	from := to.Add(-10 * time.Minute)
	limits := func(minute, burst, month int64) *Limits {
		return &Limits{PerMinute: &minute, Burst: &burst, PerMonth: &month}
	}
	type link struct {
		limits  *Limits
		budget  Money         // 0 is none
		overlap time.Duration // after the backup, until which the key is accepted beside the next
		revoked bool
	}
	type months struct{ key, budget int64 }
	for _, c := range []struct {
		name  string
		chain []link
		want  months
	}{
		{"a rotated key", []link{{limits: limits(6, 9, 1_000), budget: 90, overlap: -time.Minute}, {limits: limits(6, 9, 1_000), budget: 90}}, months{20 + 70, 90}},
		{"three keys", []link{{limits(6, 9, 1_000), 90, -time.Minute, false}, {limits(6, 9, 1_000), 90, time.Hour, false}, {limits(6, 9, 1_000), 90, 0, false}}, months{20 + 70, 90}},
		{"the old key has the larger limits", []link{{limits: limits(12, 9, 1_000), budget: 90, overlap: time.Hour}, {limits: limits(6, 6, 30), budget: 40}}, months{20 + 130, 90}},
		{"the new key has the larger limits", []link{{limits: limits(6, 6, 30), budget: 40, overlap: time.Hour}, {limits: limits(12, 9, 1_000), budget: 90}}, months{20 + 130, 90}},
		{"the larger minute and the larger burst", []link{{limits: limits(12, 1, 1_000), overlap: time.Hour}, {limits: limits(6, 40, 1_000)}}, months{20 + 161, 5}},
		{"one without a minute", []link{{limits: limits(6, 6, 50), overlap: time.Hour}, {limits: &Limits{PerMonth: ptr(int64(900))}}}, months{20 + 661, 5}},
		{"one without a month", []link{{limits: limits(6, 9, 1_000), overlap: time.Hour}, {limits: &Limits{PerMinute: ptr(int64(6))}, budget: 40}}, months{20 + 70, 40}},
		{"one with a budget alone", []link{{limits: limits(6, 9, 1_000), overlap: time.Hour}, {limits: &Limits{}, budget: 40}}, months{20 + 70, 40}},
		{"an overlap that ended before the backup", []link{{limits(12, 9, 1_000), 90, -time.Minute, false}, {limits(6, 6, 1_000), 40, 0, false}}, months{20 + 67, 40}},
		{"an overlap that ended after it", []link{{limits(12, 9, 1_000), 90, time.Minute, false}, {limits(6, 6, 1_000), 40, 0, false}}, months{20 + 130, 90}},
		{"no key works any more", []link{{limits(12, 9, 1_000), 90, time.Minute, false}, {limits(6, 6, 1_000), 40, 0, true}}, months{20, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := begun(t)
			h.at = from.Add(-time.Hour)
			h.must(&Command{Change: &TierPut{Tier: Tier{Name: "free", Live: *limitOf(60, 10_000)}}})
			k := newKey("0")
			k.Limits, k.MonthlyBudget = limits(6, 6, 20), ptr(Money(5))
			id := h.must(&Command{Change: &KeyCreate{Key: k}}).Key.ID
			first := id
			for _, budget := range []bool{false, true} {
				h.must(&Command{Change: &Grant{Asks: []GrantAsk{{Account: DefaultAccount, Type: Live, Key: id, Budget: budget, Month: Month(to), Want: 20}}}})
			}
			for i, l := range c.chain {
				update := &KeyUpdate{ID: id, Limits: l.limits}
				if update.MonthlyBudget = &l.budget; l.budget == 0 {
					update.MonthlyBudget, update.Clear = nil, []string{"monthly_budget"}
				}
				h.must(&Command{Change: update})
				if i == len(c.chain)-1 {
					if l.revoked {
						h.must(&Command{Change: &KeyRevoke{ID: id}})
					}
					break
				}
				next := string(rune('1' + i))
				h.must(&Command{Change: &KeyRotate{ID: id, New: KeyID("key_" + next), Hash: hashOf(next), Hint: next, OverlapEndsAt: from.Add(l.overlap), Counts: true}})
				id = KeyID("key_" + next)
			}
			u := &Unseen{From: from, To: to}
			rows := merged(t, h.Store, u)
			total := func(budget bool) int64 {
				return unpackGranted([]byte(rows[string(monthRow(Month(to), DefaultAccount, Live, budget, first))]))
			}
			if got := (months{total(false), total(true)}); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			months := 0
			for row := range rows {
				if row[0] == rowMonth {
					months++
				}
			}
			if months != 4 { // two of the account, for live and test keys, and two of the lineage
				t.Errorf("%d months have a count, want 4", months)
			}
		})
	}
}

// Limits of an earlier version that exceed what a bucket enforces bound the count as they
// are enforced.
func TestUnseenCountsLargeLimitsAsEnforced(t *testing.T) {
	const most, month = MaxPerMinute, MaxRequests
	to := epoch.Add(time.Hour)
	h := begun(t)
	large := &Limits{PerMinute: ptr(int64(5 * most)), Burst: ptr(int64(7 * most)), PerMonth: ptr(int64(month))}
	h.must(&Command{Change: &TierPut{Tier: Tier{Name: "free", Live: Limits{PerMonth: large.PerMonth}, Test: *large}}})
	k := newKey("a")
	k.Limits = large // its account has no minute
	h.must(&Command{Change: &KeyCreate{Key: k}})
	rows := merged(t, h.Store, &Unseen{From: to.Add(-2 * time.Minute), To: to})
	for _, c := range []struct {
		key KeyID
		typ KeyType
	}{{"", Test}, {k.ID, Live}} {
		if got := unpackGranted([]byte(rows[string(monthRow(Month(to), DefaultAccount, c.typ, false, c.key))])); got != 3*most+1 {
			t.Errorf("key %q, type %v: %d, want %d", c.key, c.typ, got, 3*most+1)
		}
	}
}

// Each node has minutes of its own, so that all members let as much through; a member that
// was removed lets nothing through.
func TestUnseenCountsEachNode(t *testing.T) {
	to := epoch.Add(time.Hour)
	own := limitOf(6, 1_000)
	for members, want := range map[int][2]int64{0: {661, 67}, 1: {661, 67}, 3: {3 * 661, 3 * 67}, 20: {10_000, 1_000}} {
		h := begun(t)
		h.must(&Command{Change: &TierPut{Tier: Tier{Name: "free", Live: *limitOf(60, 10_000)}}})
		k := newKey("a")
		k.Limits = own
		h.must(&Command{Change: &KeyCreate{Key: k}})
		if members > 0 {
			h.must(&Command{Change: &ClusterOpen{CA: []byte("ca"), CAKey: []byte("key"), Gossip: make([]byte, 32)}})
			for i := range members + 1 {
				name := fmt.Sprint("n", i)
				h.must(&Command{Change: &MemberPut{Member: Member{ID: name, Name: name, Address: fmt.Sprintf("10.0.0.%d:1", i+1), Level: Level}}})
			}
			h.must(&Command{Change: &MemberRemove{ID: "n0", Gossip: make([]byte, 32)}})
		}
		rows := merged(t, h.Store, &Unseen{From: to.Add(-10 * time.Minute), To: to})
		for i, key := range []KeyID{"", k.ID} {
			if got := unpackGranted([]byte(rows[string(monthRow(Month(to), DefaultAccount, Live, false, key))])); got != want[i] {
				t.Errorf("%d members, key %q: %d, want %d", members, key, got, want[i])
			}
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
	for _, row := range [][]byte{named(rowAccount, "acct_a"), named(rowTier, "gold"), settingsRow} {
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
