package limiter

import (
	"sync"

	"github.com/perfgate/perfgate/limiter/pool"
)

// Meter counts the traffic of one account and key type: the account's own
// buckets and those of its keys that have limits or budgets of their own. One
// mutex covers them all, so a request's charges are taken together or not at
// all. Nothing is waited for under it.
//
// # After a crash
//
// A bucket of the minute lives in memory only. Where it begins is chosen so that
// no crash admits more than the promise (burst + rate·t over any t, across
// processes):
//
//   - created in this process's life (Ask.AccountFresh, KeyFresh): full;
//   - imported from a clean stop's export: where it was, plus the time between;
//   - otherwise as if the former process had emptied it at its last possible
//     moment, plus the refill since (Ask.Refilled), but never emptier
//     than the month allows: the former process charged every unit to the month
//     first, so the total that was granted this month bounds the loss of the
//     bucket, if the month, and the time that it counts (Ask.CountedFrom),
//     is older than a whole refill.
//
// Months are replicated: a chunk counts as used when it is granted, so a crash
// loses the rest of it and mints nothing.
type Meter struct {
	mu  sync.Mutex
	now int64    // the newest Ask.Now
	cal calendar // the month
	day calendar

	exported bool // nothing is decided any more; see Export
	shared   bool // the last Ask.Shared

	minute bucket
	pooled pooled     // stands in for minute where Ask.Pool is set
	owner  pool.Owner // of its buckets in the pool, once pooled is named
	month  quota
	rules  ruleCounts      // of rules that are not per key
	keys   map[string]*own // only keys with limits, a budget or counts of rules of their own
}

// own is the state of a key, in addition to its account's.
type own struct {
	minute bucket
	pooled pooled
	burst  int64 // of the last ask, as fresh and seen are
	seen   int64 // monotonic
	fresh  bool
	month  *quota
	budget *quota
	rules  ruleCounts
}

// NewMeter returns a meter with untouched buckets.
func NewMeter() *Meter { return &Meter{} }

// Take decides one request and, if every policy that binds it has room, charges
// them all; otherwise it charges none. It does not allocate, except for the
// first touch of a key's own buckets.
func (m *Meter) Take(a *Ask) (d Decision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.exported {
		d.Pending = true
		return d
	}
	m.now, m.shared = max(m.now, a.Now), a.Shared
	monthLeft, dayLeft := m.cal.turn(a.Wall, calendarAt), m.day.turn(a.Wall, dayAt)
	d.Month, d.Day = m.cal.month, m.day.month
	var k *own
	if a.Own.PerMinute > 0 || a.Own.PerMonth > 0 || a.Budget > 0 || a.perKey() {
		k = m.own(a)
	}
	d.Rules = m.counts(a, k)
	unknown := m.unknown(a, k, &d)
	if d.Rules != nil {
		unknown = m.unknownRules(a, &d) || unknown
	}
	if unknown {
		if !a.Lend {
			if d.Pending = true; d.Rules != nil {
				d.Rules.States = nil
			}
			return d
		}
		if d.NWants = 0; d.Rules != nil {
			d.Rules.Wants = nil
		}
	}
	if a.Pool != nil {
		shard := m.enter(a)
		defer shard.Unlock()
		if !m.open(a, k, shard) || !d.Rules.open(m, a, shard) {
			d.Pending = true
			return d
		}
	}

	m.beginMinutes(a, k, d.Rules)

	units := max(a.Units, 0)
	look := a.Look || units == 0
	m.check(a, k, units, &d, &verdict{d: &d, now: m.now, monthLeft: monthLeft, dayLeft: dayLeft, look: look, lend: a.Lend, shared: a.Shared})
	if d.Allowed && !look {
		m.charge(a, k, units, &d)
	}
	m.show(a, k, monthLeft, &d)
	if d.Rules != nil {
		m.showRules(a, monthLeft, dayLeft, &d)
	}
	return d
}

// beginMinutes makes the buckets of minutes that a has and that are met for the first time.
func (m *Meter) beginMinutes(a *Ask, k *own, rules *Ruled) {
	if a.Pool == nil && a.Account.PerMinute > 0 && m.minute.rate == 0 {
		m.minute = m.begin(&a.Account, a, a.AccountFresh)
	}
	if a.Pool == nil && k != nil && a.Own.PerMinute > 0 && k.minute.rate == 0 {
		k.minute = m.begin(&a.Own, a, a.KeyFresh)
	}
	if a.Pool == nil && rules != nil {
		m.beginRules(a, rules)
	}
}

// unknown appends a want for every month of a that has no known total here yet,
// and reports whether there is one: no decision is right before.
func (m *Meter) unknown(a *Ask, k *own, d *Decision) bool {
	if a.Account.PerMonth > 0 {
		m.learn(&m.month, d, MonthQuota, a.Account.PerMonth, a.Units, a.Look)
	}
	if k != nil && a.Own.PerMonth > 0 {
		if k.month == nil {
			k.month = new(quota)
		}
		m.learn(k.month, d, KeyMonth, a.Own.PerMonth, a.Units, a.Look)
	}
	if k != nil && a.Budget > 0 {
		if k.budget == nil {
			k.budget = new(quota)
		}
		m.learn(k.budget, d, Budget, a.Budget, a.Reserve, a.Look || a.Units <= 0)
	}
	return d.NWants > 0
}

func (m *Meter) learn(q *quota, d *Decision, p Policy, limit, need int64, look bool) {
	if q.month != m.cal.month {
		q.turn(m.cal.month)
	}
	if q.known {
		return
	}
	w := Want{Policy: p, Seed: true, Month: q.month}
	if !look && need > 0 {
		w.Units, w.Need = min(need, limit), min(need, limit)
		q.ask(limit, m.now)
	}
	d.want(w)
}

// begin is a bucket that is touched for the first time; see Meter.
func (m *Meter) begin(l *Limit, a *Ask, fresh bool) bucket {
	b := bucket{at: m.now, rate: l.PerMinute}
	if fresh {
		return b
	}
	burst := l.burst()
	b.used = begun(burst, minute, uint64(max(a.Refilled, 0)), uint64(l.PerMinute))
	if a.Account.PerMonth > 0 && a.Wall-max(m.cal.start, a.CountedFrom) >= span(ceil(uint64(burst)*minute, uint64(l.PerMinute))) {
		gone := max(m.month.total-m.month.chunk, 0)
		b.used = min(b.used, level(min(gone, burst))*minute)
	}
	return b
}

// check asks every policy and settles the verdict; it charges nothing.
func (m *Meter) check(a *Ask, k *own, units int64, d *Decision, v *verdict) {
	v.periodLeft = v.monthLeft
	if a.Account.PerMinute > 0 {
		v.tokens(Minute, m.pooled.in(a), &m.minute, &a.Account, units)
	}
	if a.Account.PerMonth > 0 {
		v.month(MonthQuota, &m.month, a.Account.PerMonth, units)
	}
	if k != nil {
		if a.Own.PerMinute > 0 {
			v.tokens(KeyMinute, k.pooled.in(a), &k.minute, &a.Own, units)
		}
		if a.Own.PerMonth > 0 {
			v.month(KeyMonth, k.month, a.Own.PerMonth, units)
		}
		if a.Budget > 0 && units > 0 {
			// A budget that is used up refuses even a request that reserves nothing.
			v.month(Budget, k.budget, a.Budget, max(a.Reserve, 1))
		}
	}
	if d.Rules != nil {
		checkRules(a, units, d, v)
	}
	v.settle()
}

// charge spends the amounts that check has found to be there, and reports which
// chunks run low.
func (m *Meter) charge(a *Ask, k *own, units int64, d *Decision) {
	if a.Account.PerMinute > 0 {
		m.minute.spend(m.pooled.in(a), units, m.now, d)
	}
	if a.Account.PerMonth > 0 {
		m.spendMonth(&m.month, d, MonthQuota, a.Account.PerMonth, units)
	}
	if d.Rules != nil {
		m.chargeRules(a, units, d)
	}
	if k == nil {
		return
	}
	if a.Own.PerMinute > 0 {
		k.minute.spend(k.pooled.in(a), units, m.now, d)
	}
	if a.Own.PerMonth > 0 {
		m.spendMonth(k.month, d, KeyMonth, a.Own.PerMonth, units)
	}
	if a.Budget > 0 {
		m.spendMonth(k.budget, d, Budget, a.Budget, max(a.Reserve, 0))
	}
}

func (m *Meter) spendMonth(q *quota, d *Decision, p Policy, limit, n int64) {
	if units := m.spend(q, limit, n); units > 0 {
		d.want(Want{Policy: p, Month: q.month, Units: units})
	}
}

// spend takes n from q and returns how many units to ask for ahead of use; 0: none.
func (m *Meter) spend(q *quota, limit, n int64) (more int64) {
	q.spend(n, m.now)
	if !q.ahead(limit, m.now) || m.shared && q.chunk >= 0 && (limit-q.total)/fewLeft < n { // another node may need it more
		return 0
	}
	if more = q.next(limit, 1); more > 0 {
		q.ask(limit, m.now)
	}
	return more
}

// show writes the policies' standing after the decision, and which one binds.
func (m *Meter) show(a *Ask, k *own, monthLeft int64, d *Decision) {
	if a.Account.PerMinute > 0 {
		d.tokens(Minute, m.pooled.in(a), &m.minute, &a.Account)
	}
	if a.Account.PerMonth > 0 {
		d.month(MonthQuota, &m.month, a.Account.PerMonth, monthLeft)
	}
	if k != nil {
		if a.Own.PerMinute > 0 {
			d.tokens(KeyMinute, k.pooled.in(a), &k.minute, &a.Own)
		}
		if a.Own.PerMonth > 0 {
			d.month(KeyMonth, k.month, a.Own.PerMonth, monthLeft)
		}
		if a.Budget > 0 {
			d.Budget = State{Policy: Budget, Limit: a.Budget, Remaining: max(k.budget.left(a.Budget), 0), Reset: monthLeft}
		}
	}
}

// own finds a key's entry, or makes one.
func (m *Meter) own(a *Ask) *own {
	k := m.keys[a.Key]
	if k == nil {
		k = m.addKey(a.Key)
	}
	k.burst, k.fresh, k.seen = a.Own.burst(), a.KeyFresh, m.now
	return k
}

func (m *Meter) addKey(key string) *own {
	if m.keys == nil {
		m.keys = make(map[string]*own)
	}
	k := &own{seen: m.now}
	m.keys[key] = k
	return k
}
