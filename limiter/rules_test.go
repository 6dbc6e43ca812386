package limiter

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// book is the replicated state's part in grants: what all nodes were granted of each count.
type book map[string]int64

func bookName(of string, p Policy, period int) string { return fmt.Sprintf("%s %d %d", of, p, period) }

// limitOf is the limit that apply would find for w.
func limitOf(a *Ask, w Want) int64 {
	for _, r := range a.Rules {
		if r.Name == w.Rule && r.Window.policy() == w.Policy {
			return r.Limit
		}
	}
	return a.Account.PerMonth
}

// wants lists all wants of d.
func wants(d *Decision) []Want {
	all := append([]Want(nil), d.Wants[:d.NWants]...)
	if d.Rules != nil {
		all = append(all, d.Rules.Wants...)
	}
	return all
}

// nameOf is the name of w's count; the account's month has the empty one.
func nameOf(w Want) string { return w.Of("") }

func (b book) answer(m *Meter, a *Ask, w Want) {
	at := bookName(nameOf(w), w.Policy, w.Month)
	if w.Seed {
		m.Seed(nameOf(w), w.Policy, w.Month, b[at])
	}
	if w.Units > 0 {
		n := max(min(max(w.Units, w.Need), limitOf(a, w)-b[at]), 0)
		b[at] += n
		m.Answered(nameOf(w), w.Policy, w.Month, Answer{N: n, Total: b[at], Now: a.Now})
	}
}

// take asks until nothing is pending.
func (b book) take(t *rapid.T, m *Meter, a *Ask) Decision {
	for range 4 {
		d := m.Take(a)
		for _, w := range wants(&d) {
			b.answer(m, a, w)
		}
		if !d.Pending {
			return d
		}
	}
	t.Fatalf("still pending after four rounds: %+v", m.Take(a))
	panic("unreachable")
}

// slowRules decides by the documented rules, one policy after the other, with fractions.
type slowRules struct {
	buckets map[string]*slowPail
	periods map[string]int64
}

// slowPail is a token bucket in fractions of units.
type slowPail struct {
	used *big.Rat
	at   int64
	rate *big.Rat // units per nanosecond, of the last ask
}

func (b *slowPail) drain(now int64, rate *big.Rat) {
	slower := rate
	if b.rate.Cmp(rate) < 0 {
		slower = b.rate
	}
	if b.used.Sub(b.used, new(big.Rat).Mul(slower, big.NewRat(now-b.at, 1))); b.used.Sign() < 0 {
		b.used.SetInt64(0)
	}
	b.at, b.rate = now, rate
}

// slowPolicy is one policy of an ask.
type slowPolicy struct {
	name   string // of its count
	rule   *Rule  // nil: the account's month
	limit  int64
	burst  int64
	window Window
}

func (s *slowRules) policies(a *Ask) (out []slowPolicy) {
	if a.Account.PerMonth > 0 {
		out = append(out, slowPolicy{name: "account", limit: a.Account.PerMonth, window: EachMonth})
	}
	for _, r := range a.Rules {
		p := slowPolicy{name: r.Name + " of all", rule: r.Rule, limit: r.Limit, burst: r.Burst, window: r.Window}
		if r.PerKey {
			p.name = r.Name + " of " + a.Key
		}
		if p.burst == 0 {
			p.burst = p.limit
		}
		p.name += fmt.Sprint(" ", p.window)
		out = append(out, p)
	}
	return out
}

// rest is how many units p has left at a's time, in fractions, and which period it is.
func (s *slowRules) rest(p slowPolicy, a *Ask) (*big.Rat, string) {
	at := time.Unix(0, a.Wall).UTC()
	switch p.window {
	case EachDay, EachMonth:
		period := p.name + at.Format(" 2006-01")
		if p.window == EachDay {
			period += at.Format("-02")
		}
		return new(big.Rat).SetInt64(p.limit - s.periods[period]), period
	}
	rate := new(big.Rat).SetFrac64(p.limit, p.window.Nanoseconds())
	b := s.buckets[p.name]
	if b == nil {
		b = &slowPail{used: new(big.Rat), at: a.Now, rate: rate}
		s.buckets[p.name] = b
	}
	b.drain(a.Now, rate)
	return new(big.Rat).Sub(new(big.Rat).SetInt64(p.burst), b.used), ""
}

// take answers whether a passes, which policies refuse it, and which shadow rules would.
func (s *slowRules) take(a *Ask) (ok bool, refused, would map[string]bool) {
	ok, refused, would = true, map[string]bool{}, map[string]bool{}
	policies := s.policies(a)
	units := new(big.Rat).SetInt64(a.Units)
	for _, p := range policies {
		rest, _ := s.rest(p, a)
		switch {
		case a.Units == 0 || rest.Cmp(units) >= 0:
		case p.rule != nil && p.rule.Shadow:
			would[p.rule.Name] = true
		default:
			ok = false
			refused[p.name] = true
		}
	}
	if !ok || a.Look || a.Units == 0 {
		return ok, refused, would
	}
	for _, p := range policies {
		_, period := s.rest(p, a)
		switch {
		case p.rule != nil && would[p.rule.Name]:
		case p.window.Calendar():
			s.periods[period] += a.Units
		default:
			s.buckets[p.name].used.Add(s.buckets[p.name].used, units)
		}
	}
	return ok, refused, would
}

func genRules() *rapid.Generator[[]RuleAsk] {
	return rapid.Custom(func(t *rapid.T) (out []RuleAsk) {
		for i := range rapid.IntRange(1, 5).Draw(t, "rules") {
			r := &Rule{
				Name: fmt.Sprint("r", i), Window: Window(rapid.IntRange(0, 3).Draw(t, "window")),
				PerKey: rapid.Bool().Draw(t, "per key"), Shadow: rapid.IntRange(0, 3).Draw(t, "shadow") == 0,
				Limit: rapid.SampledFrom([]int64{1, 3, 7, 59, 61, 1000, 999_983}).Draw(t, "limit"),
			}
			if !r.Window.Calendar() {
				r.Burst = rapid.SampledFrom([]int64{0, 0, 1, 3, 10}).Draw(t, "burst")
			}
			out = append(out, RuleAsk{Rule: r, Fresh: true})
		}
		return out
	})
}

// genEdge draws pauses that often end at an edge of a UTC day, or a nanosecond beside it.
func genEdge(wall int64) *rapid.Generator[int64] {
	left := dayAt(wall).end - wall
	return rapid.OneOf(genPause(), rapid.SampledFrom([]int64{max(left-1, 0), left, left + 1, left + dayLength - 1}))
}

// A meter with several buckets and windows for several keys decides as the slow model
// does, all or none, and shows what is left of each.
func TestRulesAreTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, b, slow := NewMeter(), book{}, &slowRules{buckets: map[string]*slowPail{}, periods: map[string]int64{}}
		a := &Ask{Now: bootTime, Wall: wallTime, AccountFresh: true, KeyFresh: true, Rules: genRules().Draw(t, "rules")}
		a.Account.PerMonth = rapid.SampledFrom([]int64{0, 20, 1000}).Draw(t, "month")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "change") == 0 {
				i := rapid.IntRange(0, len(a.Rules)-1).Draw(t, "which")
				r := *a.Rules[i].Rule
				r.Limit = rapid.SampledFrom([]int64{1, 5, 60, 1000}).Draw(t, "new limit")
				a.Rules[i].Rule = &r
			}
			pause := genEdge(a.Wall).Draw(t, "pause")
			a.Now, a.Wall = a.Now+pause, a.Wall+pause
			a.Key = rapid.SampledFrom([]string{"key_a", "key_b"}).Draw(t, "key")
			a.Units = rapid.SampledFrom([]int64{0, 1, 1, 1, 2, 5, 80}).Draw(t, "units")
			a.Look = rapid.IntRange(0, 5).Draw(t, "look") == 0
			d := b.take(t, m, a)
			ok, refused, would := slow.take(a)
			if d.Allowed != ok {
				t.Fatalf("asked %+v\n got %+v of %v\nwant %v, refused by %v", *a, d, d.Rules, ok, refused)
			}
			slow.compare(t, a, &d, refused, would)
		}
	})
}

func (s *slowRules) compare(t *rapid.T, a *Ask, d *Decision, refused, would map[string]bool) {
	if !d.Allowed {
		name := "account 3"
		if r := d.Rules.Denied; r != nil {
			name = r.Name
		}
		if !anyBegins(refused, strings.TrimSuffix(name, " 3")) {
			t.Fatalf("refused by %s, and the model by %v", name, refused)
		}
	}
	for i, p := range s.policies(a)[d.N:] {
		st := d.Rules.States[i]
		rest, _ := s.rest(p, a)
		left := whole(rest)
		// A change of the limit rounds what is used up, to 1 ns: 1/60,000 of a unit at the
		// highest limit here, 60 times at most.
		least := whole(new(big.Rat).Sub(rest, big.NewRat(1, 1000)))
		if st.Remaining > left || st.Remaining < least || st.Limit != p.limit || st.Would != would[st.Rule.Name] {
			t.Fatalf("asked %+v\nrule %+v shows %+v; the model has %d left of it and would refuse: %v", *a, *st.Rule, st, left, would)
		}
	}
}

// whole is how many whole units are left.
func whole(rest *big.Rat) int64 {
	return max(new(big.Int).Div(rest.Num(), rest.Denom()).Int64(), 0)
}

func anyBegins(m map[string]bool, prefix string) bool {
	for name := range m {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// After the wait that a refusal by rules names, the same request passes.
func TestRuleWait(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, b := NewMeter(), book{}
		a := &Ask{Now: bootTime, Wall: wallTime, AccountFresh: true, KeyFresh: true, Key: "key_a", Rules: genRules().Draw(t, "rules")}
		for range 40 {
			pause := genEdge(a.Wall).Draw(t, "pause")
			a.Now, a.Wall = a.Now+pause, a.Wall+pause
			a.Units = rapid.Int64Range(1, 6).Draw(t, "units")
			d := b.take(t, m, a)
			if d.Allowed || d.Never {
				continue
			}
			a.Now, a.Wall = a.Now+d.RetryAfter*1e9, a.Wall+d.RetryAfter*1e9
			a.Look = true
			if again := b.take(t, m, a); !again.Allowed {
				t.Fatalf("refused again after %d s: %+v by %+v", d.RetryAfter, again, again.Rules.Denied)
			}
			a.Look = false
		}
	})
}

func TestRuleThatNeverFits(t *testing.T) {
	for w := EachMinute; w <= EachMonth; w++ {
		m, b := NewMeter(), book{}
		a := &Ask{Now: bootTime, Wall: wallTime, Units: 11, Rules: []RuleAsk{{Rule: &Rule{Name: "r", Window: w, Limit: 10}, Fresh: true}}}
		d := m.Take(a)
		for _, want := range wants(&d) {
			b.answer(m, a, want)
		}
		if d = m.Take(a); d.Allowed || !d.Never || d.Rules.Denied == nil || d.Rules.Denied.Name != "r" {
			t.Errorf("%v: %+v", w, d)
		}
	}
}

// A shadow rule makes no request wait for a grant, whatever is known of its count.
func TestShadowRulesDoNotWait(t *testing.T) {
	m, b := NewMeter(), book{}
	a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Shared: true, Rules: []RuleAsk{{Rule: &Rule{Name: "r", Window: EachDay, Limit: 3, Shadow: true}, Fresh: true}}}
	for i := range 6 {
		a.Now += 2e9
		d := m.Take(a)
		if d.Pending || !d.Allowed || d.Bound() != nil {
			t.Fatalf("request %d: %+v", i, d)
		}
		if would := d.Rules.States[0].Would; would != (i >= 3) {
			t.Errorf("request %d: would refuse is %v", i, would)
		}
		for _, w := range wants(&d) {
			if w.Recall {
				t.Errorf("request %d recalls", i)
			}
			b.answer(m, a, w)
		}
	}
	if n := b[bookName(RuleOf("r", ""), RuleDay, dayAt(wallTime).month)]; n != 3 {
		t.Errorf("%d units were granted of 3", n)
	}
}

func TestRefundOfRules(t *testing.T) {
	m, b := NewMeter(), book{}
	a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Key: "key_a", Rules: []RuleAsk{
		{Rule: &Rule{Name: "day", Window: EachDay, Limit: 3}, Fresh: true},
		{Rule: &Rule{Name: "month", Window: EachMonth, Limit: 3, PerKey: true}, Fresh: true},
		{Rule: &Rule{Name: "shadow", Window: EachDay, Limit: 1, Shadow: true}, Fresh: true},
		{Rule: &Rule{Name: "minute", Limit: 60}, Fresh: true},
	}}
	take := func() Decision {
		for {
			d := m.Take(a)
			for _, w := range wants(&d) {
				b.answer(m, a, w)
			}
			if !d.Pending {
				return d
			}
		}
	}
	take()
	d := take()
	m.RefundRules(&d, a.Key, 1)
	a.Look = true
	d = take()
	for i, want := range []int64{2, 2, 0, 58} {
		if s := d.Rules.States[i]; s.Remaining != want {
			t.Errorf("%s: %d left, want %d", s.Rule.Name, s.Remaining, want)
		}
	}
}

// Rules cost what they say, and a request without any costs nothing more.
func BenchmarkTakeRules(b *testing.B) {
	for _, n := range []int{0, 1, 4, MaxRules} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := NewMeter()
			a := at(0, Limit{PerMinute: 1e9, Burst: 1e8})
			for i := range n {
				a.Rules = append(a.Rules, RuleAsk{Rule: &Rule{Name: fmt.Sprint("rule-", i), Window: Window(i % 2), PerKey: i%3 == 0, Limit: MaxBurst}, Fresh: true})
			}
			b.ReportAllocs()
			for b.Loop() {
				a.Now += 1000
				m.Take(a)
			}
		})
	}
}
