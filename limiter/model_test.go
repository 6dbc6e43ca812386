package limiter

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// slowBucket is the promise in fractions: used units, draining evenly.
type slowBucket struct {
	used     *big.Rat
	at, rate int64
}

func (b *slowBucket) drain(now, rate int64) {
	if b.used == nil {
		b.used = new(big.Rat)
	} else {
		gone := new(big.Rat).Mul(big.NewRat(min(b.rate, rate), 60e9), big.NewRat(now-b.at, 1))
		if b.used.Sub(b.used, gone); b.used.Sign() < 0 {
			b.used.SetInt64(0)
		}
	}
	b.at, b.rate = now, rate
}

// wait is how many nanoseconds it takes until used is at most level, rounded up.
func (b *slowBucket) wait(level *big.Rat) int64 {
	over := new(big.Rat).Sub(b.used, level)
	if over.Sign() <= 0 {
		return 0
	}
	over.Quo(over, big.NewRat(b.rate, 60e9))
	q, r := new(big.Int).QuoRem(over.Num(), over.Denom(), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64()
}

func (b *slowBucket) left(burst int64) int64 {
	left := new(big.Rat).Sub(new(big.Rat).SetInt64(burst), b.used)
	return max(new(big.Int).Div(left.Num(), left.Denom()).Int64(), 0)
}

// slowMeter decides by the rules as they are documented, one policy after the other.
type slowMeter struct {
	minutes map[Policy]*slowBucket
	months  map[Policy]map[int]int64 // used, by calendar month
}

// slowCharge is the amount that one policy is asked for.
type slowCharge struct {
	policy           Policy
	limit, burst, n  int64 // burst: of a minute
	atLeast, headers bool
}

// charges lists the charges of a, in the order of the policies, with the buckets
// drained until now.
func (s *slowMeter) charges(a *Ask) (out []slowCharge) {
	minutes := func(p Policy, l Limit) {
		if burst := l.Burst; l.PerMinute > 0 {
			if burst == 0 {
				burst = l.PerMinute
			}
			out = append(out, slowCharge{p, l.PerMinute, burst, a.Units, false, true})
			if s.minutes[p] == nil {
				s.minutes[p] = &slowBucket{}
			}
			s.minutes[p].drain(a.Now, l.PerMinute)
		}
	}
	minutes(Minute, a.Account)
	if a.Account.PerMonth > 0 {
		out = append(out, slowCharge{MonthQuota, a.Account.PerMonth, 0, a.Units, false, true})
	}
	minutes(KeyMinute, a.Own)
	if a.Own.PerMonth > 0 {
		out = append(out, slowCharge{KeyMonth, a.Own.PerMonth, 0, a.Units, false, true})
	}
	if a.Budget > 0 && a.Units > 0 {
		out = append(out, slowCharge{Budget, a.Budget, 0, a.Reserve, true, false})
	}
	return out
}

// judge reports whether c is refused now, for how long, and whether it never
// fits.
func (s *slowMeter) judge(c slowCharge, month int, left int64) (no, never bool, wait int64) {
	if c.policy.Calendar() {
		n := c.n
		if c.atLeast {
			n = max(n, 1)
		}
		never = n > c.limit
		return never || n > 0 && n > c.limit-s.months[c.policy][month], never, left
	}
	b := s.minutes[c.policy]
	if c.n > c.burst {
		return true, true, b.wait(new(big.Rat))
	}
	wait = b.wait(new(big.Rat).SetInt64(c.burst - c.n))
	return c.n > 0 && wait > 0, false, wait
}

// spend takes c.
func (s *slowMeter) spend(c slowCharge, month int) {
	if c.policy.Calendar() {
		s.months[c.policy][month] += c.n
	} else {
		s.minutes[c.policy].used.Add(s.minutes[c.policy].used, new(big.Rat).SetInt64(c.n))
	}
}

func (s *slowMeter) state(c slowCharge, month int, left int64) State {
	st := State{Policy: c.policy, Limit: c.limit}
	if c.policy.Calendar() {
		st.Remaining, st.Reset = max(c.limit-s.months[c.policy][month], 0), left
	} else {
		st.Remaining, st.Reset = s.minutes[c.policy].left(c.burst), s.minutes[c.policy].wait(new(big.Rat))
	}
	return st
}

func (s *slowMeter) take(a *Ask) Decision {
	d := Decision{Allowed: true}
	month, end := slowMonth(a.Wall)
	d.Month, d.Day = month, int(a.Wall/86400e9)
	left := end - a.Wall
	charges := s.charges(a)
	longest := int64(-1)
	for _, c := range charges {
		if no, never, wait := s.judge(c, month, left); no {
			if d.Allowed || never && !d.Never || never == d.Never && wait > longest {
				longest, d.Denied = wait, c.policy
			}
			d.Allowed, d.Never = false, d.Never || never
		}
	}
	if !d.Allowed {
		d.RetryAfter = max((longest+1e9-1)/1e9, 1)
	}
	for _, c := range charges {
		if d.Allowed && !a.Look && a.Units > 0 {
			s.spend(c, month)
		}
		if c.headers {
			d.States[d.N] = s.state(c, month, left)
			d.N++
		}
	}
	if a.Budget > 0 {
		d.Budget = s.state(slowCharge{policy: Budget, limit: a.Budget}, month, left)
	}
	for i, st := range d.States[:d.N] {
		b := d.States[d.Binding]
		if st.Remaining < b.Remaining || st.Remaining == b.Remaining && b.Policy.Calendar() && !st.Policy.Calendar() {
			d.Binding = i
		}
	}
	return d
}

func slowMonth(wall int64) (month int, end int64) {
	t := time.Unix(0, wall).UTC()
	return t.Year()*12 + int(t.Month()) - 1, time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
}

// genLimit draws limits small enough to be hit, with rates that divide nothing evenly.
func genLimit(zero bool) *rapid.Generator[Limit] {
	return rapid.Custom(func(t *rapid.T) Limit {
		if zero && rapid.Bool().Draw(t, "none") {
			return Limit{}
		}
		return Limit{
			PerMinute: rapid.SampledFrom([]int64{0, 1, 7, 59, 60, 61, 300, 999_983}).Draw(t, "rate"),
			Burst:     rapid.SampledFrom([]int64{0, 0, 1, 3, 10, 77}).Draw(t, "burst"),
			PerMonth:  rapid.SampledFrom([]int64{0, 5, 20, 100, 1_000_000}).Draw(t, "month"),
		}
	})
}

// genPause draws the time to the next request.
func genPause() *rapid.Generator[int64] {
	return rapid.OneOf(
		rapid.Just(int64(0)),
		rapid.Int64Range(0, 3e9),
		rapid.Int64Range(0, 200e9),
		rapid.SampledFrom([]int64{1, 1e9 - 1, 1e9, 1e9 + 1, 60e9}),
		rapid.Int64Range(0, 40*24*3600e9),
	)
}

// The meter, with every want granted at once by a ledger of one node, decides
// exactly as the slow one; and after the wait that it names, the same ask passes.
func TestMeterIsTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMeter()
		slow := &slowMeter{minutes: map[Policy]*slowBucket{}, months: map[Policy]map[int]int64{MonthQuota: {}, KeyMonth: {}, Budget: {}}}
		ledger := ledger{}
		a := &Ask{
			Now: bootTime, Wall: wallTime, Key: "key_a", AccountFresh: true, KeyFresh: true,
			Account: genLimit(false).Draw(t, "account"),
			Own:     genLimit(true).Draw(t, "own"),
			Budget:  rapid.SampledFrom([]int64{0, 0, 1000, 1_000_000_000}).Draw(t, "budget"),
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "change") == 0 {
				a.Account = genLimit(false).Draw(t, "account")
				a.Own = genLimit(true).Draw(t, "own")
			}
			pause := genPause().Draw(t, "pause")
			a.Now, a.Wall = a.Now+pause, a.Wall+pause
			a.Units = rapid.SampledFrom([]int64{0, 1, 1, 1, 2, 5, 80}).Draw(t, "units")
			a.Reserve = rapid.SampledFrom([]int64{0, 1, 300, 400, 2000}).Draw(t, "reserve")
			a.Look = rapid.IntRange(0, 5).Draw(t, "look") == 0
			got, want := ledger.take(t, m, a), slow.take(a)
			compare(t, a, got, want)
			if !got.Allowed && !got.Never {
				later := *a
				later.Look = true
				later.Now, later.Wall = a.Now+got.RetryAfter*1e9, a.Wall+got.RetryAfter*1e9
				// The meter must not remember the look ahead in time: ask the slow one
				// by a copy, and the meter only when the test goes on from there.
				if rapid.Bool().Draw(t, "wait") {
					*a = later
					if d := ledger.take(t, m, a); !d.Allowed {
						t.Fatalf("after the wait of %d s it is refused again: %+v\nfirst %+v", got.RetryAfter, d, got)
					}
					slow.take(a)
				}
			}
		}
	})
}

func compare(t *rapid.T, a *Ask, got, want Decision) {
	t.Helper()
	got.NWants, got.Wants = 0, [3]Want{}
	if !want.Allowed && want.Never {
		want.RetryAfter = got.RetryAfter // no wait helps; that there is one is enough
		if got.RetryAfter < 1 {
			t.Fatalf("a refusal without a wait: %+v", got)
		}
	}
	if got != want {
		t.Fatalf("asked %+v\n got %+v\nwant %+v", *a, got, want)
	}
}

// ledger grants in full or in part, never beyond the limit, as apply does.
type ledger map[grantOf]int64

type grantOf struct {
	policy Policy
	month  int
}

func (l ledger) limit(a *Ask, p Policy) int64 {
	return map[Policy]int64{MonthQuota: a.Account.PerMonth, KeyMonth: a.Own.PerMonth, Budget: a.Budget}[p]
}

// answer answers one want.
func (l ledger) answer(m *Meter, a *Ask, w Want) {
	b := grantOf{w.Policy, w.Month}
	if w.Seed {
		m.Seed(a.Key, w.Policy, w.Month, l[b])
	}
	if w.Units == 0 {
		return
	}
	if n := min(max(w.Units, w.Need), l.limit(a, w.Policy)-l[b]); n > 0 {
		l[b] += n
		m.Credit(a.Key, w.Policy, w.Month, n, l[b])
	} else {
		m.Refused(a.Key, w.Policy, w.Month, l[b])
	}
}

// take asks until nothing is pending.
func (l ledger) take(t *rapid.T, m *Meter, a *Ask) Decision {
	for range 3 {
		d := m.Take(a)
		for _, w := range d.Wants[:d.NWants] {
			l.answer(m, a, w)
		}
		if !d.Pending {
			return d
		}
	}
	t.Fatalf("still pending after three rounds: %+v", m.Take(a))
	panic("unreachable")
}

// However the limits change, at most the largest burst then in force and the
// refill at the slower rates is admitted between any two requests.
func TestMinuteBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMeter()
		a := &Ask{Now: bootTime, Wall: wallTime, AccountFresh: true}
		var h history
		l := genRate().Draw(t, "limit")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "change") == 0 {
				l = genRate().Draw(t, "limit")
			}
			a.Account = l
			a.Now += genPause().Draw(t, "pause")
			a.Units = rapid.Int64Range(1, 12).Draw(t, "units")
			n := int64(0)
			if d := m.Take(a); d.Allowed {
				n = a.Units
			}
			h = append(h, event{a.Now, n, l})
		}
		h.check(t)
	})
}

func genRate() *rapid.Generator[Limit] {
	return rapid.Custom(func(t *rapid.T) Limit {
		return Limit{
			PerMinute: rapid.SampledFrom([]int64{1, 7, 60, 611, 7919, 1 << 40}).Draw(t, "rate"),
			Burst:     rapid.SampledFrom([]int64{1, 3, 10, 77}).Draw(t, "burst"),
		}
	})
}

// history lists the admitted units with their times and limits.
type history []event

type event struct {
	at, units int64
	limit     Limit
}

// check tries every window that begins and ends with a request.
func (h history) check(t *rapid.T) {
	t.Helper()
	for i := range h {
		sum, burst := int64(0), int64(0)
		refill := new(big.Rat)
		for j := i; j < len(h); j++ {
			burst = max(burst, h[j].limit.burst())
			if j > i {
				rate := min(h[j-1].limit.PerMinute, h[j].limit.PerMinute)
				refill.Add(refill, new(big.Rat).Mul(big.NewRat(rate, 60e9), big.NewRat(h[j].at-h[j-1].at, 1)))
			}
			if sum += h[j].units; h[j].units == 0 {
				continue
			}
			if bound := new(big.Rat).Add(refill, new(big.Rat).SetInt64(burst)); bound.Cmp(new(big.Rat).SetInt64(sum)) < 0 {
				t.Fatalf("%d admitted from request %d to %d, the promise is %s", sum, i, j, bound.FloatString(6))
			}
		}
	}
}
