package limiter

import "github.com/perfgate/perfgate/limiter/pool"

// MaxRules bounds the rules of one account, and so those that one request is charged
// to: a lookup in a short list and a bucket each.
const MaxRules = 16

// Rule is one more policy for some of a meter's requests: Limit units in each Window.
// Its count is found by Name, Window and PerKey, so a changed limit keeps it.
type Rule struct {
	Name   string // 1–64 of A–Z, a–z, 0–9, ".", "_" and "-"
	Window Window
	PerKey bool  // every key has a count of its own
	Shadow bool  // refuses nothing; RuleState.Would says what it would have refused
	Limit  int64 // ≥ 1; of a bucket at most MaxBurst
	Burst  int64 // of a bucket; 0: Limit
}

func (r *Rule) pace() Pace {
	burst := r.Burst
	if burst <= 0 {
		burst = r.Limit
	}
	return Pace{Limit: r.Limit, Burst: min(burst, MaxBurst), Window: r.Window.Nanoseconds()}
}

// RuleAsk is a rule that a request is to be charged to. Fresh says that nothing can have
// been charged to its count before this process: the rule, the account or, of a rule
// per key, the key was created since. Created, which counts where Ask.Pool is set, is the
// index of the account's or key's entry in the log, and not the rule's: one that is removed
// and added again goes on with its count.
type RuleAsk struct {
	*Rule
	Fresh   bool
	Created uint64
}

// Ruled is the part of a [Decision] that is about rules.
type Ruled struct {
	States []RuleState    // one for each of Ask.Rules, in that order; none if the decision is pending
	Denied *Rule          // the rule that refused, if Decision.Denied is a rule's policy
	Wants  []Want         // as Decision.Wants
	short  []*pool.Bucket // as Decision.Short, and low as Decision.Low
	low    []*pool.Bucket
}

// RuleState is the standing of one rule after the decision.
type RuleState struct {
	State
	Rule *Rule
	// Would says of a shadow rule that it would have refused the request, which was
	// therefore not charged to it.
	Would bool

	count *ruleCount
}

// RuleOf names the count of a rule in calls that take the name of a count: key is the
// key's id, "" of a rule that is not per key.
func RuleOf(rule, key string) string { return rule + "/" + key }

// counts finds the counts of a's rules; k is the key's entry where a rule is per key.
func (m *Meter) counts(a *Ask, k *own) *Ruled {
	if len(a.Rules) == 0 {
		return nil
	}
	r := &Ruled{States: make([]RuleState, len(a.Rules))}
	for i := range a.Rules {
		rule, list := a.Rules[i].Rule, &m.rules
		if rule.PerKey {
			list = &k.rules
		}
		c := list.get(rule.Name, rule.Window, m.now)
		c.seen, c.fresh, c.burst = m.now, a.Rules[i].Fresh, rule.pace().Burst
		r.States[i] = RuleState{Rule: rule, count: c}
	}
	return r
}

// perKey reports whether one of a's rules is counted by key.
func (a *Ask) perKey() bool {
	for i := range a.Rules {
		if a.Rules[i].PerKey {
			return true
		}
	}
	return false
}

// period is the number of the calendar window that the meter stands in.
func (m *Meter) period(p Policy) int {
	if p == RuleDay {
		return m.day.month
	}
	return m.cal.month
}

// unknownRules appends a want for every calendar window of a's rules that has no known
// total here yet, and reports whether a rule that refuses is among them: no decision is
// right before. A shadow rule does not make requests wait.
func (m *Meter) unknownRules(a *Ask, d *Decision) (waits bool) {
	for i := range d.Rules.States {
		s := &d.Rules.States[i]
		q := &s.count.quota
		if !s.Rule.Window.Calendar() {
			continue
		}
		p := s.Rule.Window.policy()
		if q.month != m.period(p) {
			q.turn(m.period(p))
		}
		if q.known {
			continue
		}
		w := Want{Policy: p, Seed: true, Month: q.month}
		if need := min(a.Units, s.Rule.Limit); !a.Look && need > 0 {
			w.Units, w.Need = need, need
			q.ask(s.Rule.Limit, m.now)
		}
		d.wantRule(a.Key, s.Rule, w)
		waits = waits || !s.Rule.Shadow
	}
	return waits
}

// beginRules begins the buckets of rules that are touched for the first time; see Meter.
func (m *Meter) beginRules(a *Ask, r *Ruled) {
	for i := range r.States {
		if s := &r.States[i]; !s.Rule.Window.Calendar() && s.count.bucket.limit == 0 {
			s.count.begin(m, a, s.Rule.pace())
		}
	}
}

// begin begins a bucket that m touches for the first time; see Meter.
func (c *ruleCount) begin(m *Meter, a *Ask, p Pace) {
	b := &c.bucket
	*b = entry{at: m.now, limit: p.Limit, window: p.Window}
	if c.fresh {
		return
	}
	tick, weight := measure(p.Window)
	b.used = begun(p.Burst, weight, uint64(max(a.Refilled, 0)/tick), uint64(p.Limit))
	whole := level(uint64(p.Burst) * weight)
	if a.Account.PerMonth > 0 && a.Wall-max(m.cal.start, a.CountedFrom) >= b.until(uint64(whole), tick, 0) {
		gone := max(m.month.total-m.month.chunk, 0)
		b.used = min(b.used, level(uint64(min(gone, p.Burst))*weight))
	}
}

// ruleVerdict is the part of a verdict that is about the rule that is asked. It holds no
// pointers, so that a request without rules costs no allocation.
type ruleVerdict struct {
	asked       bool // a rule is asked, and not another policy
	shadow      bool // it refuses nothing
	would       bool // it would have refused
	denied      bool // its refusal is the one that is answered
	wants       bool // it asks for units, or to recall them
	recall      bool
	units, need int64
}

// checkRules asks the counts of all rules for units.
func checkRules(a *Ask, units int64, d *Decision, v *verdict) {
	for i := range d.Rules.States {
		s := &d.Rules.States[i]
		v.rule = ruleVerdict{asked: true, shadow: s.Rule.Shadow}
		v.askRule(a, s, units)
		s.Would = v.rule.would
		if v.rule.denied {
			d.Rules.Denied = s.Rule
		}
		if v.rule.wants {
			d.wantRule(a.Key, s.Rule, Want{Policy: s.Rule.Window.policy(), Month: s.count.quota.month,
				Units: v.rule.units, Need: v.rule.need, Recall: v.rule.recall})
		}
	}
}

// askRule asks the count of a rule for units. A shadow rule asks for no chunk: it must not
// make a request wait.
func (v *verdict) askRule(a *Ask, s *RuleState, units int64) {
	c, r := s.count, s.Rule
	if r.Window.Calendar() {
		v.periodLeft = v.monthLeft
		if r.Window == EachDay {
			v.periodLeft = v.dayLeft
		}
		if r.Shadow {
			v.rule.would = units > r.Limit || units > 0 && c.quota.known && units > c.quota.left(r.Limit)
			return
		}
		v.month(r.Window.policy(), &c.quota, r.Limit, units)
		return
	}
	p := r.pace()
	if in := c.pooled.in(a); in != nil {
		v.askPooled(in, p, r.Shadow, units)
		return
	}
	tick, weight := measure(p.Window)
	c.bucket.adopt(p, v.now)
	since := v.now - c.bucket.at
	switch {
	case units > p.Burst:
		v.refuse(RuleBucket, c.bucket.until(uint64(c.bucket.used), tick, since), true)
	case units > 0:
		if over := c.bucket.used.over(p.Burst, units, weight); over > 0 {
			v.refuse(RuleBucket, c.bucket.until(over, tick, since), false)
		}
	}
}

// chargeRules spends units of every rule that has room for them. A shadow rule spends
// units ahead of their grant, so that it makes no request wait: the next grant pays.
func (m *Meter) chargeRules(a *Ask, units int64, d *Decision) {
	for i := range d.Rules.States {
		s := &d.Rules.States[i]
		r, c := s.Rule, s.count
		if s.Would {
			continue
		}
		if in := c.pooled.in(a); in != nil {
			in.Spend(units)
			if in.Low(m.now) {
				d.Rules.low = append(d.Rules.low, in)
			}
			continue
		}
		if !r.Window.Calendar() {
			_, weight := measure(r.Window.Nanoseconds())
			c.bucket.used += level(uint64(units) * weight)
			continue
		}
		if more := m.spend(&c.quota, r.Limit, units); more > 0 {
			d.wantRule(a.Key, r, Want{Policy: r.Window.policy(), Month: c.quota.month, Units: more})
		}
	}
}

// showRules writes the standing of a's rules. Shadow rules never bind.
func (m *Meter) showRules(a *Ask, monthLeft, dayLeft int64, d *Decision) {
	bound := d.N > 0
	for i := range d.Rules.States {
		s := &d.Rules.States[i]
		r, c := s.Rule, s.count
		s.State = State{Policy: r.Window.policy(), Limit: r.Limit}
		switch in := c.pooled.in(a); {
		case in != nil:
			s.Remaining, s.Reset = in.Known()
			s.Shared, s.Here = true, in.Left()
		case !r.Window.Calendar():
			p := r.pace()
			tick, weight := measure(p.Window)
			c.bucket.adopt(p, m.now)
			s.Remaining = c.bucket.used.left(p.Burst, weight)
			s.Reset = c.bucket.until(uint64(c.bucket.used), tick, m.now-c.bucket.at)
		case r.Window == EachDay:
			s.Remaining, s.Reset = max(c.quota.left(r.Limit), 0), dayLeft
		default:
			s.Remaining, s.Reset = max(c.quota.left(r.Limit), 0), monthLeft
		}
		if r.Shadow {
			continue
		}
		if !bound || s.before(d.Bound()) {
			bound, d.Binding = true, d.N+i
		}
	}
}

// before reports whether s binds rather than least: fewer units are left, or as many of
// a bucket instead of a calendar window.
func (s *State) before(least *State) bool {
	return s.Remaining < least.Remaining ||
		s.Remaining == least.Remaining && least.Policy.Calendar() && !s.Policy.Calendar()
}

// Bound is the state of the policy that binds; nil if there is none.
func (d *Decision) Bound() *State {
	switch {
	case d.Binding < d.N:
		return &d.States[d.Binding]
	case d.Rules != nil && d.Binding-d.N < len(d.Rules.States):
		if s := &d.Rules.States[d.Binding-d.N]; !s.Rule.Shadow {
			return &s.State
		}
	}
	return nil
}

// Refusal is the policy that refused: its name, its limit and what is left of it, in
// billionths of a budget. It is meaningful if d is neither Allowed nor Pending.
func (d *Decision) Refusal() (policy string, limit, left int64) {
	switch s := d.Refused(); {
	case s == nil:
		return d.Denied.String(), 0, 0
	case d.Rules != nil && d.Rules.Denied != nil:
		return d.Rules.Denied.Name, s.Limit, s.Remaining
	default:
		return s.Policy.String(), s.Limit, s.Remaining
	}
}

// Refused is the standing of the policy that refused, as [Decision.Refusal]; nil if it is
// not shown.
func (d *Decision) Refused() *State {
	if d.Rules != nil && d.Rules.Denied != nil {
		for i := range d.Rules.States {
			if s := &d.Rules.States[i]; s.Rule == d.Rules.Denied {
				return &s.State
			}
		}
		return nil
	}
	if d.Denied == Budget {
		return &d.Budget
	}
	for i := range d.States[:d.N] {
		if s := &d.States[i]; s.Policy == d.Denied {
			return s
		}
	}
	return nil
}

// Most is how much the policy that refused ever holds: units, or billionths of a budget.
func (a *Ask) Most(d *Decision) int64 {
	switch {
	case d.Rules != nil && d.Rules.Denied != nil && !d.Rules.Denied.Window.Calendar():
		return d.Rules.Denied.pace().Burst
	case d.Rules != nil && d.Rules.Denied != nil:
		return d.Rules.Denied.Limit
	case d.Denied == Minute:
		return a.Account.burst()
	case d.Denied == MonthQuota:
		return a.Account.PerMonth
	case d.Denied == KeyMinute:
		return a.Own.burst()
	case d.Denied == KeyMonth:
		return a.Own.PerMonth
	}
	return a.Budget
}

// wantRule appends a want of a rule; key is the key that it is counted by.
func (d *Decision) wantRule(key string, r *Rule, w Want) {
	w.Rule = r.Name
	if r.PerKey {
		w.Key = key
	}
	d.Rules.Wants = append(d.Rules.Wants, w)
}

// RefundRules is [Meter.Refund] for the days and months of the rules that d charged; key
// is its Ask.Key.
func (m *Meter) RefundRules(d *Decision, key string, units int64) (out []Want) {
	if d.Rules == nil || units <= 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range d.Rules.States {
		s := &d.Rules.States[i]
		if s.Would || !s.Rule.Window.Calendar() {
			continue
		}
		w := Want{Policy: s.Rule.Window.policy(), Month: d.Month, Rule: s.Rule.Name, Give: true}
		if s.Rule.Window == EachDay {
			w.Month = d.Day
		}
		if s.Rule.PerKey {
			w.Key = key
		}
		if q := m.late(w.Of(""), w.Policy, w.Month); q != nil {
			if q.give(units); m.shared && q.few(units) {
				out = append(out, w)
			}
		}
	}
	return out
}
