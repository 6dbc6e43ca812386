package limiter

import (
	"testing"
	"time"
)

// months is a meter of a node among others, with a key's budget of 1000 of which total
// is granted.
func months(total, chunk int64) (*Meter, *Ask) {
	m := NewMeter()
	a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Key: "key_a", Budget: 1000, Reserve: 100, Shared: true}
	m.Take(a)
	m.Seed(a.Key, Budget, thisMonth, total-chunk)
	if chunk > 0 {
		m.Answered(a.Key, Budget, thisMonth, Answer{N: chunk, Total: total, Index: 10, Now: a.Now})
	} else {
		m.Total(a.Key, Budget, thisMonth, total, 10)
	}
	return m, a
}

// outcome is the short form of a decision.
func outcome(d Decision) string {
	switch {
	case d.Allowed:
		return "passes"
	case !d.Pending:
		return "refused"
	case d.Wants[0].Recall:
		return "recalls"
	}
	return "asks"
}

// A request beyond the units left is refused only after a recall; the log's entries about
// other nodes' units count at once.
func TestSharedMonthRecallsFirst(t *testing.T) {
	m, a := months(1000, 0)
	const second = time.Second
	for i, step := range []struct {
		at   time.Duration
		do   func()
		want string
	}{
		{0, nil, "recalls"},
		{0, func() { m.Recalled(a.Key, Budget, thisMonth, a.Now) }, "refused"},
		{second / 2, nil, "refused"},
		{second, nil, "recalls"}, // patience is over
		{second, func() { m.Recalled(a.Key, Budget, thisMonth, a.Now) }, "refused"},
		{2*second + second/2, nil, "refused"}, // twice as long
		{3 * second, nil, "recalls"},
		{3 * second, func() { m.Recalled(a.Key, Budget, thisMonth, a.Now) }, "refused"},
		{3 * second, func() { m.Total(a.Key, Budget, thisMonth, 950, 11) }, "refused"},
		{3*second + 240e6, nil, "refused"},
		{3*second + 250e6, nil, "recalls"},                                                // sooner: others spend and give back
		{3*second + 250e6, func() { m.Total(a.Key, Budget, thisMonth, 900, 12) }, "asks"}, // there is enough
		{3*second + 250e6, func() { m.Total(a.Key, Budget, thisMonth, 990, 11) }, "asks"}, // older than the known total
		{3*second + 250e6, func() {
			m.Answered(a.Key, Budget, thisMonth, Answer{N: 100, Total: 1000, Index: 13, Now: a.Now})
		}, "passes"},
		{3*second + 250e6, nil, "refused"}, // patience of the last refusal
	} {
		if a.Now = bootTime + int64(step.at); step.do != nil {
			step.do()
		}
		if got := outcome(m.Take(a)); got != step.want {
			t.Fatalf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

// A look is answered as the request would be.
func TestLookRecallsToo(t *testing.T) {
	m, a := months(1000, 0)
	a.Look = true
	if got := outcome(m.Take(a)); got != "recalls" {
		t.Fatal(got)
	}
	m.Total(a.Key, Budget, thisMonth, 900, 11)
	if got := outcome(m.Take(a)); got != "passes" {
		t.Fatal(got)
	}
}

// A node that serves alone cannot recall: it refuses requests that it cannot lend units
// to.
func TestLendingDoesNotRecall(t *testing.T) {
	m, a := months(1000, 0)
	a.Lend = true
	if got := outcome(m.Take(a)); got != "refused" {
		t.Fatal(got)
	}
}

// Rests return when few requests fit into the units left, and stay otherwise.
func TestRestsReturnWhenLittleIsLeft(t *testing.T) {
	for _, c := range []struct {
		total int64
		give  bool
	}{{200, false}, {201, true}, {1000, true}} {
		m, a := months(c.total, 100)
		if d := m.Take(a); !d.Allowed {
			t.Fatalf("%+v", d)
		}
		if w := m.Settle(a.Key, thisMonth, 100, 1); w.Give != c.give {
			t.Errorf("with %d of 1000 granted, a settled rest: %+v", c.total, w)
		}
		m.Take(a)
		if wants := m.Refund(a.Key, thisMonth, 0, 100); (len(wants) == 1 && wants[0].Give) != c.give {
			t.Errorf("with %d of 1000 granted, a refund: %+v", c.total, wants)
		}
	}
}

// No chunk is asked for ahead of use that another node may need for a request.
func TestNothingAheadOfUseWhenLittleIsLeft(t *testing.T) {
	for total, want := range map[int64]int{200: 1, 201: 0} {
		m, a := months(total, 100)
		if d := m.Take(a); !d.Allowed || d.NWants != want {
			t.Errorf("with %d of 1000 granted: %+v", total, d)
		}
	}
}

// A recall leaves the units that came just now for a request that waits, until they are
// spent.
func TestYieldKeepsWhatIsWaitedFor(t *testing.T) {
	m, a := months(0, 0)
	m.Answered(a.Key, Budget, thisMonth, Answer{N: 150, Total: 150, Index: 11, Need: 100, Now: a.Now})
	if n := m.Yield(a.Key, Budget, thisMonth, a.Now); n != 50 {
		t.Fatalf("yields %d", n)
	}
	if d := m.Take(a); !d.Allowed {
		t.Fatalf("%+v", d)
	}
	m.Settle(a.Key, thisMonth, 100, 1)
	if n := m.Yield(a.Key, Budget, thisMonth, a.Now); n != 99 {
		t.Errorf("of a settled rest it yields %d", n)
	}
	m.Answered(a.Key, Budget, thisMonth, Answer{N: 100, Total: 101, Index: 12, Need: 100, Now: a.Now})
	if n := m.Yield(a.Key, Budget, thisMonth, a.Now+keepFor); n != 100 {
		t.Errorf("of what nobody came for it yields %d", n)
	}
}

// A charge that is in flight for longer than entries are kept is settled in full, and the
// debt of a key is not forgotten.
func TestPruneForgetsNoCharge(t *testing.T) {
	idle := func(m *Meter, a *Ask) {
		a.Now += pruneAfter
		if m.Prune(a.Now, Forever, nil); len(m.keys) != 0 {
			t.Helper()
			t.Fatal("the entry is still there")
		}
	}
	for _, c := range []struct {
		name string
		end  func(m *Meter, a *Ask)
		left int64 // of the 1000
	}{
		{"settled above its reserve", func(m *Meter, a *Ask) { m.Settle(a.Key, thisMonth, 100, 700) }, 300},
		{"settled below its reserve", func(m *Meter, a *Ask) { m.Settle(a.Key, thisMonth, 100, 40) }, 960},
		{"refunded", func(m *Meter, a *Ask) { m.Refund(a.Key, thisMonth, 1, 100) }, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, book := NewMeter(), ledger{}
			a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Key: "key_a", Own: Limit{PerMonth: 2}, Budget: 1000, Reserve: 100, Refilled: Forever}
			take := func() (d Decision) {
				for range 3 {
					d = m.Take(a)
					for _, w := range d.Wants[:d.NWants] {
						book.answer(m, a, w)
					}
				}
				return d
			}
			if d := m.Take(a); !d.Pending {
				t.Fatalf("%+v", d)
			}
			m.Seed(a.Key, KeyMonth, thisMonth, 0)
			m.Credit(a.Key, KeyMonth, thisMonth, 1, 1)
			m.Seed(a.Key, Budget, thisMonth, 0)
			m.Credit(a.Key, Budget, thisMonth, 100, 100)
			book[grantOf{KeyMonth, thisMonth}], book[grantOf{Budget, thisMonth}] = 1, 100
			if d := m.Take(a); !d.Allowed {
				t.Fatalf("%+v", d)
			}
			idle(m, a)
			c.end(m, a)
			a.Now += pruneAfter
			for _, u := range m.Prune(a.Now, Forever, nil) {
				book[grantOf{u.Policy, thisMonth}] -= u.Units
			}
			a.Units, a.Look = 1, true
			a.Reserve = c.left + 1
			if d := take(); d.Allowed {
				t.Errorf("more than %d are left", c.left)
			}
			a.Reserve = c.left
			if d := take(); !d.Allowed {
				t.Errorf("less than %d are left: %+v", c.left, d)
			}
		})
	}
}

// An account's chunk goes back when nobody used it for long, as a key's does.
func TestPruneGivesTheAccountsChunkBack(t *testing.T) {
	m := NewMeter()
	a := at(0, quotaOnly)
	m.Take(a)
	m.Credit("", MonthQuota, thisMonth, 50, 50)
	m.Take(a)
	if out := m.Prune(bootTime+int64(9*time.Minute), Forever, nil); len(out) != 0 {
		t.Errorf("after 9 minutes: %+v", out)
	}
	if out := m.Prune(bootTime+int64(11*time.Minute), Forever, nil); len(out) != 1 || out[0] != (Unused{Policy: MonthQuota, Month: thisMonth, Units: 49}) {
		t.Errorf("after 11 minutes: %+v", out)
	}
}

// A state that was replaced is read again.
func TestForget(t *testing.T) {
	m, a := months(500, 100)
	m.Forget()
	d := m.Take(a)
	if !d.Pending || !d.Wants[0].Seed {
		t.Fatalf("%+v", d)
	}
	m.Seed(a.Key, Budget, thisMonth, 700)
	if d = m.Take(a); !d.Allowed || m.keys[a.Key].budget.total != 700 {
		t.Errorf("%+v", d)
	}
}
