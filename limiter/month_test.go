package limiter

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	thisMonth, _ = slowMonth(wallTime)
	quotaOnly    = Limit{PerMonth: 1000}
)

func TestFirstDecisionAfterAStartWaitsForTheTotal(t *testing.T) {
	m := NewMeter()
	a := at(0, Limit{PerMinute: 60, PerMonth: 1000})
	d := m.Take(a)
	want := Want{Policy: MonthQuota, Seed: true, Month: thisMonth, Units: 1, Need: 1}
	if !d.Pending || d.N != 0 || d.NWants != 1 || d.Wants[0] != want {
		t.Fatalf("first: %+v", d)
	}
	m.Seed(a.Key, MonthQuota, thisMonth, 400)
	m.Credit(a.Key, MonthQuota, thisMonth, 1, 401)
	if d = m.Take(a); !d.Allowed || d.States[1].Remaining != 599 {
		t.Fatalf("second: %+v", d)
	}
}

// A look needs the total, and nothing granted.
func TestLookSpendsAndAsksNothing(t *testing.T) {
	m := NewMeter()
	a := at(0, Limit{PerMinute: 60, PerMonth: 1000})
	a.Look = true
	if d := m.Take(a); !d.Pending || d.NWants != 1 || d.Wants[0].Units != 0 || !d.Wants[0].Seed {
		t.Fatalf("first: %+v", d)
	}
	m.Seed(a.Key, MonthQuota, thisMonth, 990)
	for range 100 {
		if d := m.Take(a); !d.Allowed || d.NWants != 0 || d.States[0].Remaining != 60 || d.States[1].Remaining != 10 {
			t.Fatalf("look: %+v", d)
		}
	}
	a.Units = 11
	if d := m.Take(a); d.Allowed || d.Denied != MonthQuota || d.NWants != 0 {
		t.Fatalf("look for too much: %+v", d)
	}
}

func TestMonthRefusalWaitsForTheMonthsEnd(t *testing.T) {
	m, book := NewMeter(), ledger{{MonthQuota, thisMonth}: 1000}
	_, end := slowMonth(wallTime)
	for _, before := range []time.Duration{20 * 24 * time.Hour, 1500 * time.Millisecond, time.Second, 1} {
		a := at(0, quotaOnly)
		a.Wall = end - int64(before)
		if a.Wall < wallTime {
			continue
		}
		d := m.Take(a)
		for _, w := range d.Wants[:d.NWants] {
			book.answer(m, a, w)
		}
		d = m.Take(a)
		want := max(int64((before+time.Second-1)/time.Second), 1)
		if d.Allowed || d.RetryAfter != want || d.States[0].Reset != int64(before) {
			t.Errorf("%v before the end: %+v, want a wait of %d s", before, d, want)
		}
	}
}

func TestMonthsEndVoidsTheChunk(t *testing.T) {
	m := NewMeter()
	a := at(0, quotaOnly)
	m.Take(a)
	m.Credit("", MonthQuota, thisMonth, 100, 100)
	if d := m.Take(a); !d.Allowed {
		t.Fatalf("%+v", d)
	}
	_, end := slowMonth(a.Wall)
	a.Wall = end
	if d := m.Take(a); !d.Pending || !d.Wants[0].Seed || d.Wants[0].Month != thisMonth+1 {
		t.Fatalf("in the new month: %+v", d)
	}
	m.Credit("", MonthQuota, thisMonth, 100, 200) // late, for the old month
	if d := m.Take(a); !d.Pending {
		t.Fatalf("a grant for the old month was spent in the new one: %+v", d)
	}
	m.Credit("", MonthQuota, thisMonth+1, 1, 1)
	a.Wall = end - 1e9 // began before the end, charged after a request of the new month
	if d := m.Take(a); !d.Allowed || d.States[0].Remaining != 999 {
		t.Fatalf("a late request turned the month back: %+v", d)
	}
}

func TestChangedMonthLimit(t *testing.T) {
	m, book := NewMeter(), ledger{}
	a := at(0, quotaOnly)
	slowly := func(n int) (allowed int) {
		for range n {
			a.Now += 20e9 // demand that asks for one at a time
			d := m.Take(a)
			for round := 0; d.Pending && round < 3; round++ {
				for _, w := range d.Wants[:d.NWants] {
					book.answer(m, a, w)
				}
				d = m.Take(a)
			}
			for _, w := range d.Wants[:d.NWants] {
				book.answer(m, a, w)
			}
			if d.Allowed {
				allowed++
			}
		}
		return allowed
	}
	for _, step := range []struct {
		limit   int64
		n, want int
	}{
		{1000, 100, 100},
		{50, 10, 0},    // lowered below the used units: at once, although a chunk is at hand
		{103, 10, 3},   // raised: at once, although a refusal was remembered
		{1000, 10, 10}, // again
	} {
		a.Account.PerMonth = step.limit
		if got := slowly(step.n); got != step.want {
			t.Errorf("limit %d: %d of %d admitted, want %d", step.limit, got, step.n, step.want)
		}
	}
}

// Only chunks of this month are given back: units of an old month would be new
// ones in this.
func TestSurrender(t *testing.T) {
	m := NewMeter()
	a := at(0, quotaOnly)
	a.Own, a.Budget, a.Reserve = quotaOnly, 500, 5
	m.Take(a)
	for _, p := range []Policy{MonthQuota, KeyMonth, Budget} {
		m.Credit(a.Key, p, thisMonth, 100, 300)
	}
	if d := m.Take(a); !d.Allowed {
		t.Fatalf("%+v", d)
	}
	want := []Unused{{"", MonthQuota, thisMonth, 99}, {a.Key, KeyMonth, thisMonth, 99}, {a.Key, Budget, thisMonth, 95}}
	if got := m.Surrender(nil); !slices.Equal(got, want) {
		t.Errorf("surrendered %+v, want %+v", got, want)
	}
	if got := m.Surrender(nil); got != nil {
		t.Errorf("surrendered again: %+v", got)
	}
	if d := m.Take(a); !d.Pending || d.States[0].Remaining != 799 {
		t.Errorf("afterwards: %+v", d)
	}
	m.Credit(a.Key, KeyMonth, thisMonth, 50, 251)
	a.Own, a.Budget = Limit{}, 0
	_, a.Wall = slowMonth(a.Wall)
	m.Take(a) // turns the account's month, not the key's
	m.Credit("", MonthQuota, thisMonth+1, 7, 7)
	if got, want := m.Surrender(nil), []Unused{{"", MonthQuota, thisMonth + 1, 7}}; !slices.Equal(got, want) {
		t.Errorf("in the next month: %+v, want %+v", got, want)
	}
}

// A key's entry goes when it is idle and whole, gives its chunk back, and not before.
func TestPrune(t *testing.T) {
	m := NewMeter()
	a := at(0, Limit{PerMinute: 1e6})
	a.Own, a.KeyFresh = Limit{PerMinute: 1, Burst: 20, PerMonth: 1000}, false
	a.Refilled, a.Units = Forever, 15
	m.Take(a)
	m.Credit(a.Key, KeyMonth, thisMonth, 100, 100)
	m.Take(a)
	for _, step := range []struct {
		after    time.Duration
		refilled int64
		left     int
	}{
		{9 * time.Minute, Forever, 1},    // idle, but not for long
		{14 * time.Minute, Forever, 1},   // not whole
		{16 * time.Minute, 19 * 60e9, 1}, // whole, but would begin with less
		{16 * time.Minute, 20 * 60e9, 0},
	} {
		out := m.Prune(bootTime+int64(step.after), step.refilled, nil)
		if len(m.keys) != step.left || len(out) != 1-step.left {
			t.Errorf("after %v: %d entries, given back %+v", step.after, len(m.keys), out)
		}
	}
}

// A refusal by the replicated state is remembered even where this node's numbers
// would still give (its view of the limit may be newer than the applied one).
func TestRefusedIsRememberedForAMinute(t *testing.T) {
	m := NewMeter()
	a := at(0, quotaOnly)
	m.Take(a)
	m.Seed("", MonthQuota, thisMonth, 10)
	m.Refused("", MonthQuota, thisMonth, 10)
	for _, step := range []struct {
		at      time.Duration
		limit   int64
		pending bool
	}{
		{time.Second, 1000, false},
		{59 * time.Second, 1000, false},
		{61 * time.Second, 1000, true},
	} {
		a.Now, a.Account.PerMonth = bootTime+int64(step.at), step.limit
		if d := m.Take(a); d.Allowed || d.Pending != step.pending {
			t.Errorf("at %v: %+v", step.at, d)
		}
	}
	m.Refused("", MonthQuota, thisMonth, 10)
	a.Account.PerMonth = 2000
	if d := m.Take(a); !d.Pending {
		t.Errorf("with another limit: %+v", d)
	}
}

// Chunks follow demand, and shrink to single units near the end.
func TestChunkSize(t *testing.T) {
	for _, c := range []struct {
		cur, last, chunk, total, limit, need, want int64
	}{
		{0, 0, 0, 0, 1000, 1, 1},
		{50, 0, 0, 0, 1000, 1, 50},
		{20, 70, 0, 0, 1000, 1, 70},
		{5000, 0, 0, 0, 1000, 1, 125},
		{5000, 0, 0, 992, 1000, 1, 1},
		{5000, 0, 0, 999, 1000, 1, 1},
		{0, 0, 2, 0, 1000, 10, 8},
		{0, 0, 0, 995, 1000, 10, 5},
		{0, 0, -30, 0, 1000, 1, 31},
		{10, 0, 0, 1000, 1000, 1, 0},
		{5000, 0, 2, 5, 40, 1, 2},
		{5000, 0, 5, 5, 45, 1, 0},
	} {
		q := quota{cur: c.cur, last: c.last, chunk: c.chunk, total: c.total}
		if got := q.next(c.limit, c.need); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// A crash loses the units at hand: never more than an eighth of those that are not
// spent, or those that a request at hand needs.
func TestUnitsAtHandAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, book := NewMeter(), ledger{}
		a := at(0, Limit{PerMonth: rapid.Int64Range(1, 2000).Draw(t, "limit")})
		most := rapid.SampledFrom([]int64{1, 1, 3, 40}).Draw(t, "most units")
		var spent int64
		for {
			a.Now += rapid.SampledFrom([]int64{0, 1e6, 1e9, 6e9}).Draw(t, "pause")
			a.Units = rapid.Int64Range(1, most).Draw(t, "units")
			d := book.take(t, m, a)
			if !d.Allowed {
				break
			}
			spent += a.Units
			if held := book[grantOf{MonthQuota, thisMonth}] - spent; held > (a.Account.PerMonth-spent)/8 && held > a.Units {
				t.Fatalf("%d units at hand, with %d of %d spent and a request for %d", held, spent, a.Account.PerMonth, a.Units)
			}
		}
		if spent+most <= a.Account.PerMonth {
			t.Fatalf("refused with %d of %d spent", spent, a.Account.PerMonth)
		}
	})
}

func TestBudgetSettles(t *testing.T) {
	m, book := NewMeter(), ledger{}
	a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Key: "key_a", Budget: 1000, Reserve: 400}
	take := func() Decision {
		var d Decision
		for range 3 {
			d = m.Take(a)
			for _, w := range d.Wants[:d.NWants] {
				book.answer(m, a, w)
			}
			if !d.Pending {
				break
			}
		}
		return d
	}
	for range 2 {
		if d := take(); !d.Allowed {
			t.Fatalf("%+v", d)
		}
	}
	d := take()
	_, end := slowMonth(a.Wall)
	if d.Allowed || d.Denied != Budget || d.RetryAfter != (end-a.Wall)/1e9 {
		t.Fatalf("a third reserve of 400 from 1,000: %+v", d)
	}
	m.Settle("key_a", thisMonth, 400, 100) // 700 left: 100 spent, 400 reserved
	if d := take(); !d.Allowed {
		t.Fatalf("after settling low: %+v", d)
	}
	m.Settle("key_a", thisMonth-1, 400, 0) // of the month before: void
	m.Settle("key_a", thisMonth, 400, 900) // far beyond its reserve
	a.Reserve = 0
	if d := take(); d.Allowed || d.Denied != Budget {
		t.Fatalf("a budget in debt admits what reserves nothing: %+v", d)
	}
}

// Reserved and settled at random, the amount spent is at most the budget, and
// exactly the rest is left.
func TestBudgetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, book := NewMeter(), ledger{}
		a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Key: "key_a", Budget: 10_000}
		spent := int64(0)
		var open []int64
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			a.Now += rapid.Int64Range(0, 20e9).Draw(t, "pause")
			if len(open) > 0 && rapid.Bool().Draw(t, "settle") {
				cost := rapid.Int64Range(0, open[0]).Draw(t, "cost")
				m.Settle(a.Key, thisMonth, open[0], cost)
				spent, open = spent+cost, open[1:]
				continue
			}
			a.Reserve = rapid.Int64Range(1, 2000).Draw(t, "reserve")
			held := spent
			for _, n := range open {
				held += n
			}
			d := book.take(t, m, a)
			if fits := held+a.Reserve <= a.Budget; d.Allowed != fits {
				t.Fatalf("%d of %d held, reserve %d: %+v", held, a.Budget, a.Reserve, d)
			}
			if d.Allowed {
				open = append(open, a.Reserve)
			}
		}
	})
}

// A node that cannot ask for chunks goes on with a month as far as it knows it,
// and pays the debt at the next grant.
func TestLend(t *testing.T) {
	m := NewMeter()
	ask := func(lend bool) Decision {
		return m.Take(&Ask{Now: bootTime, Wall: wallTime, Units: 4, Account: Limit{PerMinute: 1000, PerMonth: 10}, AccountFresh: true, Lend: lend})
	}
	if d := ask(false); !d.Pending {
		t.Fatalf("a month of which nothing is known: %+v", d)
	}
	if d := ask(true); !d.Allowed || d.NWants != 0 {
		t.Fatalf("lent: %+v", d)
	}
	if d := ask(true); !d.Allowed {
		t.Fatalf("lent again: %+v", d)
	}
	if d := ask(true); d.Allowed || d.Pending {
		t.Errorf("lent beyond the month: %+v", d)
	}
	m.Seed("", MonthQuota, thisMonth, 0)
	if d := ask(false); d.Allowed {
		t.Errorf("8 of 10 are lent, and 4 more are let pass: %+v", d)
	}
	m.Credit("", MonthQuota, thisMonth, 10, 10)
	if d := ask(false); d.Allowed {
		t.Errorf("the debt was forgotten: %+v", d)
	}
	if d := m.Take(&Ask{Now: bootTime, Wall: wallTime, Units: 2, Account: Limit{PerMinute: 1000, PerMonth: 10}, AccountFresh: true}); !d.Allowed {
		t.Errorf("what is left behind the debt: %+v", d)
	}
}

// A refund gives back months and budget, and no sum of money wraps.
func TestRefund(t *testing.T) { rapid.Check(t, refunds) }

func refunds(t *rapid.T) {
	m, book := NewMeter(), ledger{}
	a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Key: "key_a", Account: Limit{PerMonth: 1},
		Own: Limit{PerMonth: 1, PerMinute: 5}, Budget: 400, Reserve: 400}
	for i := range 5 {
		d := book.take(t, m, a)
		if !d.Allowed {
			t.Fatalf("after %d refunds: %+v", i, d)
		}
		m.Refund(a.Key, d.Month, 1, 400)
	}
	if d := book.take(t, m, a); d.Allowed || d.Denied != KeyMinute {
		t.Fatalf("the minute was refunded: %+v", d)
	}
	for range 20 {
		m.Settle(a.Key, thisMonth, 0, 1<<62)
	}
	a.Now += 600e9
	if d := book.take(t, m, a); d.Allowed || d.Denied != Budget {
		t.Fatalf("a budget in the deepest debt: %+v", d)
	}
}
