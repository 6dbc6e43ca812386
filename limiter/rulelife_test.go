package limiter

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// herd is three nodes that share the days and months of one account and may be killed.
type herd struct {
	book     book
	meters   [3]*Meter
	mail     []parcel
	admitted map[string]int64 // units, by count
	lost     map[string]int64 // units held by a node that was killed, by count
}

// parcel is a want on its way to the log and back.
type parcel struct {
	m       *Meter
	w       Want
	n       int64
	total   int64
	applied bool
}

func newHerd() *herd {
	h := &herd{book: book{}, admitted: map[string]int64{}, lost: map[string]int64{}}
	for i := range h.meters {
		h.meters[i] = NewMeter()
	}
	return h
}

// charged lists the counts that d charged.
func charged(a *Ask, d *Decision) (names []string) {
	names = append(names, bookName("", MonthQuota, d.Month))
	for _, s := range d.Rules.States {
		w := Want{Rule: s.Rule.Name, Policy: s.Rule.Window.policy(), Month: d.Month}
		if s.Rule.Window == EachDay {
			w.Month = d.Day
		}
		if s.Rule.PerKey {
			w.Key = a.Key
		}
		names = append(names, bookName(w.Of(""), w.Policy, w.Month))
	}
	return names
}

func (h *herd) take(i int, a *Ask) (ok bool) {
	d := h.meters[i].Take(a)
	for _, w := range wants(&d) {
		h.mail = append(h.mail, parcel{m: h.meters[i], w: w})
	}
	if d.Allowed {
		for _, name := range charged(a, &d) {
			h.admitted[name] += a.Units
		}
	}
	return d.Allowed
}

func (h *herd) apply(p *parcel, a *Ask) {
	at := bookName(nameOf(p.w), p.w.Policy, p.w.Month)
	if !p.applied {
		p.n = max(min(max(p.w.Units, p.w.Need), limitOf(a, p.w)-h.book[at]), 0)
		h.book[at] += p.n
		p.total, p.applied = h.book[at], true
	}
}

// deliver hands a grant to its meter, if its node has not been killed.
func (h *herd) deliver(p parcel, a *Ask) {
	h.apply(&p, a)
	at, name := bookName(nameOf(p.w), p.w.Policy, p.w.Month), nameOf(p.w)
	for _, m := range h.meters {
		if m != p.m {
			continue
		}
		if p.w.Seed {
			m.Seed(name, p.w.Policy, p.w.Month, h.book[at]-p.n)
		}
		if p.w.Units > 0 {
			m.Answered(name, p.w.Policy, p.w.Month, Answer{N: p.n, Total: p.total})
		}
		if p.w.Month == m.period(p.w.Policy) {
			return
		}
	}
	h.lost[at] += p.n
}

// kill replaces node i; the units that it holds are lost.
func (h *herd) kill(i int) {
	for _, u := range h.meters[i].Surrender(nil) {
		h.lost[bookName(u.Key, u.Policy, u.Month)] += u.Units
	}
	h.meters[i] = NewMeter()
}

// stop replaces node i, which gives its units back.
func (h *herd) stop(i int) {
	for _, u := range h.meters[i].Surrender(nil) {
		h.book[bookName(u.Key, u.Policy, u.Month)] -= u.Units
	}
	h.meters[i] = NewMeter()
}

func (h *herd) step(r *rand.Rand, a *Ask) {
	i := r.IntN(len(h.meters))
	switch n := r.IntN(24); {
	case n == 0:
		h.kill(i)
	case n == 1:
		h.stop(i)
	case n < 4 && len(h.mail) > 0: // applied, not yet delivered: a kill may come between
		h.apply(&h.mail[r.IntN(len(h.mail))], a)
	case n < 12 && len(h.mail) > 0:
		h.deliver(h.mail[0], a)
		h.mail = h.mail[1:]
	default:
		pause := r.Int64N(2e9)
		a.Now, a.Wall = a.Now+pause, a.Wall+pause
		a.Key = []string{"key_a", "key_b"}[r.IntN(2)]
		a.Units = []int64{1, 1, 1, 4}[r.IntN(4)]
		h.take(i, a)
	}
}

// In 240 months with kills before and after every kind of grant, and at every edge of a
// day, no count of a day or a month passes its limit; and units are missing only where
// a kill lost them.
func TestQuotaMonthsOverKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	a := &Ask{Now: bootTime, Wall: wallTime, Account: Limit{PerMonth: 900}, Rules: []RuleAsk{
		{Rule: &Rule{Name: "day", Window: EachDay, Limit: 40}, Fresh: true},
		{Rule: &Rule{Name: "key-day", Window: EachDay, Limit: 25, PerKey: true}, Fresh: true},
		{Rule: &Rule{Name: "month-of-keys", Window: EachMonth, Limit: 500, PerKey: true}, Fresh: true},
	}}
	limits := map[string]int64{}
	h := newHerd()
	for month := range 240 {
		_, end := slowMonth(a.Wall)
		for a.Wall < end {
			for range 30 {
				h.step(r, a)
				h.check(t, a, limits)
			}
			// On to an edge of a day: just before it, at it or just after.
			to := dayAt(a.Wall).end + []int64{-1, 0, 1, dayLength * r.Int64N(9)}[r.IntN(4)]
			a.Now, a.Wall = a.Now+max(to-a.Wall, 0), max(to, a.Wall)
		}
		if month%24 == 0 {
			h.exhaust(t, a, limits)
		}
		clear(h.lost) // of a month that has passed
	}
}

func (h *herd) check(t *testing.T, a *Ask, limits map[string]int64) {
	t.Helper()
	for _, p := range []struct {
		name  string
		limit int64
	}{
		{bookName("", MonthQuota, calendarAt(a.Wall).month), a.Account.PerMonth},
		{bookName(RuleOf("day", ""), RuleDay, dayAt(a.Wall).month), 40},
		{bookName(RuleOf("key-day", a.Key), RuleDay, dayAt(a.Wall).month), 25},
		{bookName(RuleOf("month-of-keys", a.Key), RuleMonth, calendarAt(a.Wall).month), 500},
	} {
		limits[p.name] = p.limit
		if n := h.admitted[p.name]; n > p.limit {
			t.Fatalf("%d admitted of %s at %v, the limit is %d", n, p.name, time.Unix(0, a.Wall).UTC(), p.limit)
		}
	}
}

// exhaust has everything delivered and returned; one node then gets all that is left of
// the day, and no more.
func (h *herd) exhaust(t *testing.T, a *Ask, limits map[string]int64) {
	t.Helper()
	a.Units = 1
	h.take(0, a) // all meters learn the period
	for _, p := range h.mail {
		h.deliver(p, a)
	}
	h.mail = nil
	for i := range h.meters {
		h.stop(i)
	}
	h.check(t, a, limits)
	least := int64(1 << 62)
	for _, name := range []string{
		bookName("", MonthQuota, calendarAt(a.Wall).month), bookName(RuleOf("day", ""), RuleDay, dayAt(a.Wall).month),
		bookName(RuleOf("key-day", a.Key), RuleDay, dayAt(a.Wall).month), bookName(RuleOf("month-of-keys", a.Key), RuleMonth, calendarAt(a.Wall).month),
	} {
		least = min(least, limits[name]-h.admitted[name]-h.lost[name])
	}
	got := int64(0)
	for refusals := 0; refusals < 5; {
		ok := h.take(0, a)
		for _, p := range h.mail {
			h.deliver(p, a)
		}
		if h.mail = nil; ok {
			got++
		} else {
			refusals++
		}
	}
	if got != least {
		t.Fatalf("%d units were left for one node, want %d", got, least)
	}
}

// No sequence of crashes, clean stops and prunings admits more of a rule's bucket than
// its burst and what refills, over any stretch of time.
func TestRuleBoundOverLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := []*Rule{}
		for i, w := range []Window{EachMinute, EachHour} {
			for _, perKey := range []bool{false, true} {
				rules = append(rules, &Rule{Name: fmt.Sprint("r", i, perKey), Window: w, PerKey: perKey,
					Limit: rapid.SampledFrom([]int64{7, 60, 600}).Draw(t, "limit"), Burst: rapid.SampledFrom([]int64{0, 3, 20}).Draw(t, "burst")})
			}
		}
		month := rapid.SampledFrom([]int64{0, 40, 1e6}).Draw(t, "month")
		m, b, now, since, ahead := NewMeter(), book{}, bootTime, bootTime, wallTime-bootTime
		passed := map[string][]ruleEvent{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			then := now
			now += genPause().Draw(t, "pause")
			switch rapid.IntRange(0, 11).Draw(t, "what") {
			case 0:
				m, since = NewMeter(), now
			case 1: // a clean stop at then
				for _, u := range m.Surrender(nil) {
					b[bookName(u.Key, u.Policy, u.Month)] -= u.Units
				}
				export := m.Export(then, nil)
				if m = NewMeter(); len(export) > 0 {
					if err := m.Import(export, now, now-then); err != nil {
						t.Fatal(err)
					}
				}
			case 2:
				for _, u := range m.Prune(now, now-since, nil) {
					b[bookName(u.Key, u.Policy, u.Month)] -= u.Units
				}
			default:
				a := &Ask{Now: now, Wall: now + ahead, Units: rapid.Int64Range(1, 8).Draw(t, "units"), Account: Limit{PerMonth: month},
					Refilled: now - since, Key: rapid.SampledFrom([]string{"key_a", "key_b"}).Draw(t, "key")}
				for _, r := range rules {
					a.Rules = append(a.Rules, RuleAsk{Rule: r})
				}
				if d := b.take(t, m, a); d.Allowed {
					for _, r := range rules {
						name := r.Name
						if r.PerKey {
							name += a.Key
						}
						passed[name] = append(passed[name], ruleEvent{now, a.Units, r})
					}
				}
			}
		}
		for name, events := range passed {
			checkRuleBound(t, name, events)
		}
	})
}

type ruleEvent struct {
	at, units int64
	rule      *Rule
}

func checkRuleBound(t *rapid.T, name string, events []ruleEvent) {
	for i := range events {
		sum, p := int64(0), events[i].rule.pace()
		for _, e := range events[i:] {
			sum += e.units
			refill := new(big.Int).Mul(big.NewInt(p.Limit), big.NewInt(e.at-events[i].at))
			over := new(big.Int).Mul(big.NewInt(sum-p.Burst), big.NewInt(p.Window))
			if over.Cmp(refill) > 0 {
				t.Fatalf("%s: %d units in %v, with %d in %v and a burst of %d", name, sum, time.Duration(e.at-events[i].at), p.Limit, time.Duration(p.Window), p.Burst)
			}
		}
	}
}

// A clean stop carries the buckets of rules over: they are where they would have been.
func TestExportOfRules(t *testing.T) {
	m := NewMeter()
	a := &Ask{Now: bootTime, Wall: wallTime, Units: 5, Key: "key_a", Refilled: Forever, Rules: []RuleAsk{
		{Rule: &Rule{Name: "minute", Limit: 60}, Fresh: false}, {Rule: &Rule{Name: "hour", Window: EachHour, Limit: 60, PerKey: true}, Fresh: false},
	}}
	m.Take(a)
	export := m.Export(bootTime+1e9, nil)
	for cut := 1; cut < len(export); cut++ {
		if err := NewMeter().Import(export[:cut], bootTime, 0); err == nil {
			t.Errorf("an export cut to %d of %d bytes is taken", cut, len(export))
		}
	}
	m = NewMeter()
	if err := m.Import(export, bootTime+60e9, 59e9); err != nil {
		t.Fatal(err)
	}
	a.Now, a.Look = bootTime+60e9, true
	d := m.Take(a)
	if minute, hour := d.Rules.States[0].Remaining, d.Rules.States[1].Remaining; minute != 60 || hour != 56 {
		t.Errorf("%d left of the minute and %d of the hour, want 60 and 56", minute, hour)
	}
}

// Counts that are not used any more are dropped, and their chunks given back.
func TestPruneOfRules(t *testing.T) {
	m, b := NewMeter(), book{}
	a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Key: "key_a", Refilled: Forever, Rules: []RuleAsk{
		{Rule: &Rule{Name: "day", Window: EachDay, Limit: 1000, PerKey: true}, Fresh: false}, {Rule: &Rule{Name: "minute", Limit: 60}, Fresh: false},
	}}
	for range 3 {
		d := m.Take(a)
		for _, w := range wants(&d) {
			b.answer(m, a, w)
		}
	}
	m.Answered(RuleOf("day", "key_a"), RuleDay, dayAt(wallTime).month, Answer{N: 50, Total: 53})
	if out := m.Prune(bootTime+pruneAfter-1, Forever, nil); len(out) != 0 || len(m.rules) != 1 || len(m.keys) != 1 {
		t.Fatalf("too early: %+v, %d counts", out, len(m.rules))
	}
	out := m.Prune(bootTime+pruneAfter, Forever, nil)
	if len(m.rules) != 0 || len(m.keys) != 0 {
		t.Errorf("%d counts and %d keys are kept", len(m.rules), len(m.keys))
	}
	if len(out) != 1 || out[0].Key != RuleOf("day", "key_a") || out[0].Policy != RuleDay || out[0].Units < 50 {
		t.Errorf("given back: %+v", out)
	}
}
