package limiter

import (
	"testing"
	"time"
)

// Times in these tests: the monotonic clock starts at an arbitrary 1,000 s, the
// wall clock in the middle of a month.
var (
	bootTime = int64(1000e9)
	wallTime = time.Date(2026, 11, 15, 12, 0, 0, 0, time.UTC).UnixNano()
)

// at is an ask of one unit, d after the start.
func at(d time.Duration, l Limit) *Ask {
	return &Ask{Now: bootTime + int64(d), Wall: wallTime + int64(d), Units: 1, Account: l, AccountFresh: true, Key: "key_a", KeyFresh: true}
}

func TestMinuteSteps(t *testing.T) {
	m := NewMeter()
	l := Limit{PerMinute: 60, Burst: 3}
	for _, step := range []struct {
		at        time.Duration
		units     int64
		allowed   bool
		remaining int64
		retry     int64
		reset     time.Duration
	}{
		{0, 1, true, 2, 0, time.Second},
		{0, 2, true, 0, 0, 3 * time.Second},
		{0, 1, false, 0, 1, 3 * time.Second},
		{0, 3, false, 0, 3, 3 * time.Second},
		{999 * time.Millisecond, 1, false, 0, 1, 2001 * time.Millisecond},
		{time.Second, 1, true, 0, 0, 3 * time.Second},
		{1500 * time.Millisecond, 2, false, 0, 2, 2500 * time.Millisecond},
		{3 * time.Second, 0, true, 2, 0, time.Second}, // a look
		{3 * time.Second, 2, true, 0, 0, 3 * time.Second},
		{time.Hour, 4, false, 3, 1, 0}, // more than the bucket holds
		{time.Hour, 3, true, 0, 0, 3 * time.Second},
	} {
		a := at(step.at, l)
		a.Units = step.units
		d := m.Take(a)
		s := d.States[0]
		if d.Allowed != step.allowed || s.Remaining != step.remaining || d.RetryAfter != step.retry || s.Reset != int64(step.reset) {
			t.Errorf("at %v, %d units: allowed %v remaining %d retry %d reset %v; want %v %d %d %v", step.at, step.units,
				d.Allowed, s.Remaining, d.RetryAfter, time.Duration(s.Reset), step.allowed, step.remaining, step.retry, step.reset)
		}
		if d.Never != (step.units > 3) {
			t.Errorf("at %v, %d units: never = %v", step.at, step.units, d.Never)
		}
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	for name, a := range hot() {
		m := NewMeter()
		warm(m, a)
		if n := testing.AllocsPerRun(1000, func() {
			a.Now += 1e6
			if d := m.Take(a); !d.Allowed {
				t.Fatalf("%s: %+v", name, d)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a Take", name, n)
		}
	}
}

// hot is the asks that the speed of Take is judged by.
func hot() map[string]*Ask {
	l := Limit{PerMinute: 1e9, Burst: 1e8, PerMonth: 1e18}
	account := at(0, l)
	own := at(0, l)
	own.Own = l
	all := at(0, l)
	all.Own, all.Budget, all.Reserve = l, 1e18, 1
	return map[string]*Ask{"account": account, "key": own, "budget": all}
}

// warm grants m more months than a test can use up.
func warm(m *Meter, a *Ask) {
	d := m.Take(a)
	for _, w := range d.Wants[:d.NWants] {
		m.Credit(a.Key, w.Policy, w.Month, 1e17, 1e17)
	}
}

func BenchmarkTake(b *testing.B) {
	for name, a := range hot() {
		b.Run(name, func(b *testing.B) {
			m := NewMeter()
			warm(m, a)
			b.ReportAllocs()
			for b.Loop() {
				a.Now += 100
				m.Take(a)
			}
		})
	}
}

func BenchmarkBuckets(b *testing.B) {
	t, p := NewBuckets(1<<16), Pace{Limit: 1e9, Burst: 1e8, Window: 60e9}
	n := NameOf("ns", "user")
	b.ReportAllocs()
	now := bootTime
	for b.Loop() {
		now += 100
		t.Take(n, p, 1, now, Forever)
	}
}

func BenchmarkNameOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NameOf("default", "orders", "user-12345")
	}
}
