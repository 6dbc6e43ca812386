package limiter

// Seed sets the total of a month, as the replicated state has it before the first
// grant: granted to all nodes so far. It changes nothing once a total is known.
func (m *Meter) Seed(key string, p Policy, month int, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.quota(key, p, month); q != nil && !q.known {
		if q.known = true; q.index == 0 {
			q.total = total
		}
	}
}

// Total takes over the total of a month as an entry of the log has left it, with the
// entry's index: whichever node it was granted to or given back by. A meter that is
// not shared learns its totals from its own grants alone: see Answer.
func (m *Meter) Total(key string, p Policy, month int, total int64, index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.quota(key, p, month); q != nil && m.shared {
		q.learn(total, index)
	}
}

func (q *quota) learn(total int64, index uint64) {
	if index < q.index {
		return
	}
	if total < q.total {
		q.refused = false // there is something to grant again
	}
	q.total, q.index = total, index
}

// Forget makes the totals of all months unknown, since the replicated state was replaced;
// the units at hand here stay.
func (m *Meter) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.month.known, m.month.index = false, 0
	m.rules.forget()
	for _, k := range m.keys {
		k.rules.forget()
		for _, q := range [...]*quota{k.month, k.budget} {
			if q != nil {
				q.known, q.index = false, 0
			}
		}
	}
}

// Answer is the replicated state's answer to an ask.
type Answer struct {
	N     int64 // units granted; 0: there was nothing left
	Total int64 // granted to all nodes in that month so far
	Index uint64
	Need  int64 // units of N that requests wait for: they are not given back at once
	Now   int64 // as in Ask
}

// Credit is Answered for a grant of n > 0 units.
func (m *Meter) Credit(key string, p Policy, month int, n, total int64) {
	m.Answered(key, p, month, Answer{N: n, Total: total})
}

// Refused is Answered where there was nothing left to grant.
func (m *Meter) Refused(key string, p Policy, month int, total int64) {
	m.Answered(key, p, month, Answer{Total: total})
}

// Answered hands over an answer: more units for this node, or none. An answer for
// another month than the one the meter stands in is void.
//
// Where nothing was left, requests beyond the chunk are refused without asking, until
// the limit or the month changes; after a minute one asks again, since another node
// may have given units back.
func (m *Meter) Answered(key string, p Policy, month int, a Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.late(key, p, month)
	if q == nil {
		return
	}
	q.open, q.recalled = false, 0
	if a.N > 0 {
		q.refused = false
		q.chunk += a.N
		q.size = q.chunk
		q.keep, q.keepTill = min(a.Need, a.N), a.Now+keepFor
	} else {
		q.refused = a.Index >= q.index
		if !m.shared {
			// The total shrinks when a chunk is given back, and then there is something to
			// grant; a smaller total here is that of a bucket which is gone.
			a.Total = max(q.total, a.Total)
		}
	}
	if a.Index >= q.index {
		q.total, q.index = a.Total, a.Index
	}
	q.known = true
}

// Recalled notes that the other nodes have given back the units of a month that they hold
// and do not need, and that the totals here show it. A request that finds too little
// afterwards is refused.
func (m *Meter) Recalled(key string, p Policy, month int, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.quota(key, p, month); q != nil {
		q.recalled = max(now, 1)
	}
}

// Yield takes the units of a month that are at hand out of m, except for those that came
// just now for requests that wait, and returns their number: the caller gives them back.
func (m *Meter) Yield(key string, p Policy, month int, now int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.quota(key, p, month)
	if q == nil {
		return 0
	}
	n := q.chunk
	if now < q.keepTill {
		n -= q.keep
	}
	if n <= 0 {
		return 0
	}
	q.chunk -= n
	q.total -= n
	q.size = q.chunk
	return n
}

// Restore puts units back that Yield took and that could not be given back.
func (m *Meter) Restore(key string, p Policy, month int, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.late(key, p, month); q != nil {
		q.give(n)
		q.total += n
	}
}

// Settle replaces the reserve that a request took from its key's budget by its
// cost, in billionths: the rest returns to this node's chunk, or the excess is
// charged. A chunk in debt asks for more at once: the want, if its Units are not
// 0, goes to the granter. A reserve of another month is void.
func (m *Meter) Settle(key string, month int, reserved, actual int64) Want {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.late(key, Budget, month)
	if q == nil {
		return Want{}
	}
	q.give(max(reserved, 0) - max(actual, 0))
	switch w := (Want{Policy: Budget, Month: month}); {
	case q.chunk > 0:
		w.Give = m.shared && q.few(reserved)
		return w
	case q.chunk < 0 && q.under > 0:
		q.ask(q.under, m.now)
		w.Units = -q.chunk
		return w
	}
	return Want{}
}

// Refund gives back the units and the reserve of a request that Take charged in
// month and that reached no upstream: to the account's month, the key's and its
// budget. The minutes keep the charge. It returns wants with Give for the granter.
func (m *Meter) Refund(key string, month int, units, reserved int64) (out []Want) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, n := range [...]int64{MonthQuota: units, KeyMonth: units, Budget: reserved} {
		p := Policy(p)
		if !p.Calendar() || n <= 0 {
			continue
		}
		if q := m.late(key, p, month); q != nil {
			if q.give(n); m.shared && q.few(n) {
				out = append(out, Want{Policy: p, Month: month, Give: true})
			}
		}
	}
	return out
}

// most bounds a chunk on both sides, so that no sum with a limit and a total can
// wrap.
const most = 1 << 60

// give adds n, which may be negative, to the chunk, and holds at the bounds.
func (q *quota) give(n int64) {
	q.chunk = min(max(q.chunk+min(max(n, -most), most), -most), most)
}

// Unused is the rest of one month's chunk.
type Unused struct {
	Key    string // "" for the account's own month; of a rule's count, its name: see RuleOf
	Policy Policy
	Month  int
	Units  int64
}

// Surrender takes every chunk out of m, appends their rests to out, and returns
// it: a clean stop gives it back to the replicated state. Later requests to m are
// Pending until there is a new grant.
func (m *Meter) Surrender(out []Unused) []Unused {
	m.mu.Lock()
	defer m.mu.Unlock()
	out = m.month.surrender(out, "", MonthQuota, m.cal.month)
	out = m.rules.surrender(m, out, "")
	for key, k := range m.keys {
		out = k.surrender(out, key, m.cal.month)
		out = k.rules.surrender(m, out, key)
	}
	return out
}

func (k *own) surrender(out []Unused, key string, month int) []Unused {
	out = k.month.surrender(out, key, KeyMonth, month)
	return k.budget.surrender(out, key, Budget, month)
}

func (q *quota) surrender(out []Unused, key string, p Policy, month int) []Unused {
	if q == nil || q.month != month || q.chunk <= 0 {
		return out
	}
	out = append(out, Unused{Key: key, Policy: p, Month: month, Units: q.chunk})
	q.total -= q.chunk
	q.chunk, q.size = 0, 0
	return out
}

// pruneAfter is how long a key's entry is kept after its last request.
const pruneAfter = 600e9

// Prune drops the entries of keys that have not been used for ten minutes with a
// bucket that is whole again and would begin whole if it were touched again
// (refilled is Ask.Refilled). The rests of their chunks are appended to out, to
// be given back, and so is an account's, once it was not used for ten minutes. So an
// entry exists only for a key with limits or a budget of its own that was used within
// ten minutes, or within burst/rate if that is longer, or that owes units of this
// month: some 150 bytes each, 500 with a month and a budget. A charge that is settled
// later finds an entry again: see late. It looks at every entry; a ticker calls it
// once a minute.
func (m *Meter) Prune(now, refilled int64, out []Unused) []Unused {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = max(m.now, now)
	if m.now-m.month.since >= pruneAfter {
		out = m.month.surrender(out, "", MonthQuota, m.cal.month)
	}
	out = m.rules.prune(m, refilled, "", out)
	for key, k := range m.keys {
		if out = k.rules.prune(m, refilled, key, out); len(k.rules) > 0 {
			continue
		}
		if m.now-k.seen < pruneAfter || !k.minute.whole(m.now) || k.month.owes(m.cal.month) || k.budget.owes(m.cal.month) {
			continue
		}
		if k.pooled.bucket == nil && !k.fresh && begun(k.burst, minute, uint64(max(refilled, 0)), uint64(k.minute.rate)) > 0 {
			continue
		}
		out = k.surrender(out, key, m.cal.month)
		delete(m.keys, key)
	}
	return out
}

// owes reports whether more was spent than was granted.
func (q *quota) owes(month int) bool { return q != nil && q.month == month && q.chunk < 0 }

// late finds the quota of a charge that is settled or answered late: the entry of a
// key that was dropped meanwhile is made again, so that nothing of the charge is lost.
// It is nil for a month that has passed.
func (m *Meter) late(key string, p Policy, month int) *quota {
	if q := m.quota(key, p, month); q != nil || p == MonthQuota || month != m.period(p) {
		return q
	}
	if p == RuleDay || p == RuleMonth {
		rule, list := m.ruleList(key, true)
		q := &list.get(rule, p.window(), m.now).quota
		q.turn(month)
		return q
	}
	k := m.keys[key]
	if k == nil {
		k = m.addKey(key)
	}
	q := &k.month
	if p == Budget {
		q = &k.budget
	}
	if *q == nil {
		*q = &quota{month: month}
	} else {
		(*q).turn(month)
	}
	return *q
}

// quota finds a month's quota, or nil where there is none of that month.
func (m *Meter) quota(key string, p Policy, month int) *quota {
	q := &m.month
	switch p {
	case MonthQuota:
	case RuleDay, RuleMonth:
		q = nil
		if rule, list := m.ruleList(key, false); list != nil {
			if c := list.find(rule, p.window()); c != nil {
				q = &c.quota
			}
		}
	default:
		k := m.keys[key]
		if k == nil {
			return nil
		}
		if q = k.month; p == Budget {
			q = k.budget
		}
	}
	if q == nil || q.month != month {
		return nil
	}
	return q
}
