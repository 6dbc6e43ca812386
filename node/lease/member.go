package lease

import "slices"

// closed is the channel of something that needs no wait.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// member returns the member of n's node, creating it if necessary; nil if there is
// no room.
func (t *Table) member(n Node) *member {
	i, found := t.search(n.ID)
	if !found {
		if !t.room() {
			return nil
		}
		i, _ = t.search(n.ID)
		t.nodes = slices.Insert(t.nodes, i, &member{Node: n})
	}
	return t.nodes[i]
}

// heard records that n reported rep.
func (t *Table) heard(n Node, rep uint64, now int64) (*member, error) {
	m := t.member(n)
	first := m != nil && m.seen == 0
	switch {
	case m == nil:
		return nil, ErrFull
	case n.Boot < m.Boot:
		return nil, ErrOldBoot
	case n.Boot > m.Boot:
		m.restart(n.Boot)
	}
	if old := t.electedAt + t.expiry; first && now < old {
		// It may serve with a lease of the last leader, of which this table knows
		// nothing. It counts as a holder until that lease must have ended. Nodes that
		// this table has not heard of are not in contact; they matter only to writes
		// that take a right away (see Write).
		m.top = end{at: old}
	}
	m.seen = now
	m.rep = max(m.rep, rep) // reports of one process arrive out of order
	m.queue.applied(m.rep)
	for _, r := range m.pending {
		if m.rep >= r.need {
			r.wake()
		}
	}
	return m, nil
}

// restart ends everything that an earlier process held, for it is dead. The index
// that it had applied says nothing about the new process, which may have less.
func (m *member) restart(boot uint64) {
	for _, r := range m.pending {
		r.wake()
	}
	m.queue.ended(m.suspect)
	*m = member{Node: Node{ID: m.ID, Boot: boot}, suspect: m.suspect, queue: m.queue}
}

// find returns the record of a ticket, or nil if it was granted, dropped, or
// invalidated by a later start or another term.
func (t *Table) find(tk Ticket) (*member, *record) {
	i, found := t.search(tk.node.ID)
	if !found || t.nodes[i].Boot != tk.node.Boot || t.term != tk.term {
		return nil, nil
	}
	for _, r := range t.nodes[i].pending {
		if r.seq == tk.seq {
			return t.nodes[i], r
		}
	}
	return nil, nil
}

func late(r *record, now int64) bool { return now-r.x > int64(GrantWithin) }

// expire drops the renewals that can no longer be granted, in case their callers
// did not.
func (m *member) expire(now int64) {
	for len(m.pending) > 0 && late(m.pending[0], now) {
		m.drop(m.pending[0])
	}
}

func (m *member) remove(r *record) {
	r.wake()
	m.pending = slices.DeleteFunc(m.pending, func(o *record) bool { return o == r })
}

// drop removes one record. Everything that referred to it (later records, waits
// that counted it, and the node itself) then refers to the record below it.
func (m *member) drop(r *record) {
	m.remove(r)
	for _, o := range m.pending {
		if o.below.seq == r.seq {
			o.below = r.below
		}
	}
	if m.top.seq == r.seq {
		m.top = r.below
	}
	m.queue.dropped(r)
}

// holds reports whether the node may hold a lease at now.
func (m *member) holds(now int64) bool { return m.top.at > now }

// serves reports whether the node may serve without a lease.
func (m *member) serves() bool { return m.stale || m.suspect }

// room makes room for one more node, if necessary by forgetting the node that has
// been silent for longest among those that hold nothing and that no write waits
// for. It reports whether there is room.
func (t *Table) room() bool {
	if len(t.nodes) < MaxNodes {
		return true
	}
	oldest := -1
	for i, m := range t.nodes {
		m.expire(t.now)
		if m.holds(t.now) || m.serves() || m.queue.head != nil || len(m.pending) > 0 {
			continue
		}
		if oldest < 0 || m.seen < t.nodes[oldest].seen {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	t.nodes = slices.Delete(t.nodes, oldest, oldest+1)
	return true
}
