package limiter

// Seed tells what the replicated state says of a month before the first grant:
// total granted to all nodes so far. It changes nothing once a total is known.
func (m *Meter) Seed(key string, p Policy, month int, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.quota(key, p, month); q != nil && !q.known {
		q.known, q.total = true, total
	}
}

// Credit hands over a grant: n > 0 units more for this node, total granted to
// all nodes in that month so far. A grant for another month than the one the
// meter stands in is void, and one for a key that was pruned is lost.
func (m *Meter) Credit(key string, p Policy, month int, n, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.quota(key, p, month); q != nil {
		q.known, q.total = true, total
		q.chunk += n
		q.size = q.chunk
		q.open, q.refused = false, false
	}
}

// Refused notes that the replicated state had nothing left to grant. Requests
// beyond the chunk are then refused without asking, until the limit or the month
// changes; after a minute one asks again, since another node may have given
// units back.
func (m *Meter) Refused(key string, p Policy, month int, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.quota(key, p, month); q != nil {
		// What is granted shrinks by giving back, and then there is something to
		// grant; a smaller total here is that of a bucket which is gone.
		q.known, q.total = true, max(q.total, total)
		q.open, q.refused = false, true
	}
}

// Settle replaces what a request reserved of a key's budget by what it cost, in
// billionths: the rest returns to this node's chunk, or the excess is charged.
// A chunk in debt asks for more at once: the want, if its Units are not 0, goes
// to the granter. A reserve of another month is void.
func (m *Meter) Settle(key string, month int, reserved, actual int64) Want {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.quota(key, Budget, month)
	if q == nil {
		return Want{}
	}
	q.chunk += max(reserved, 0) - max(actual, 0)
	if q.chunk >= 0 || q.under <= 0 {
		return Want{}
	}
	q.ask(q.under, m.now)
	return Want{Policy: Budget, Month: month, Units: -q.chunk}
}

// Unused is what is left of one month's chunk.
type Unused struct {
	Key    string // "" for the account's own month
	Policy Policy
	Month  int
	Units  int64
}

// Surrender takes every chunk out of m, appends what is left of them to out, and
// returns it: a clean stop gives it back to the replicated state. What is asked
// of m afterwards is Pending until it is granted anew.
func (m *Meter) Surrender(out []Unused) []Unused {
	m.mu.Lock()
	defer m.mu.Unlock()
	out = m.month.surrender(out, "", MonthQuota, m.cal.month)
	for key, k := range m.keys {
		out = k.surrender(out, key, m.cal.month)
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

// Prune drops the entries of keys that have not been used for ten minutes and
// whose bucket is whole again (and would begin whole if it were touched anew:
// refilled is Ask.Refilled). What their chunks still held is appended to out, to
// be given back. So an entry exists only for a key with limits or a budget of
// its own that was used within ten minutes, or within burst/rate if that is
// longer: some 150 bytes each, 370 with a month and a budget. It looks at every
// entry; a ticker calls it once a minute.
func (m *Meter) Prune(now, refilled int64, out []Unused) []Unused {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = max(m.now, now)
	for key, k := range m.keys {
		if m.now-k.seen < pruneAfter || !k.minute.whole(m.now) {
			continue
		}
		if !k.fresh && begun(k.burst, minute, uint64(max(refilled, 0)), uint64(k.minute.rate)) > 0 {
			continue
		}
		out = k.surrender(out, key, m.cal.month)
		delete(m.keys, key)
	}
	return out
}

// quota finds a month's quota, or nil where there is none of that month.
func (m *Meter) quota(key string, p Policy, month int) *quota {
	q := &m.month
	if p != MonthQuota {
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
