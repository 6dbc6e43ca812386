package share

import "slices"

// OnReply takes an answer; a second one to the same question, or one to a question that
// was given up, changes nothing.
func (b *Bucket) OnReply(from Peer, r *Reply, now int64) {
	i := b.more.find(r.ID, from)
	if i < 0 {
		return
	}
	now = b.settle(now)
	m := b.more
	o := m.asking.open[i]
	covered, parts := int64(0), Part(0)
	for _, g := range r.Grants {
		if g.Part <= 0 || g.Part > One {
			continue
		}
		x := g.Part
		switch {
		case g.Home:
			x = b.home(from, g.Part, g.Stamp, now)
		case !m.hold(slice{from: from, stamp: g.Stamp, end: o.at + shorter(TTL), part: g.Part}, now):
			continue
		}
		covered += b.Pace().cap(x)
		parts += x
	}
	held := max(0, min(r.Held, b.Pace().full()))
	got := max(0, min(r.Tokens-r.Held, covered))
	if end := o.at + shorter(o.hold); held > 0 && now < end && len(m.loose) < maxHolds {
		m.loose = append(m.loose, hold{end, held})
		got += held
	}
	b.rights0(now)
	b.tok += got
	b.moved = b.moved || got > 0
	b.rights(now)
	m.see(from, r.State, now)
	if v := m.viewOf(from); v != nil {
		v.down = 0
	}
	useful := got >= b.Pace().Weight && float64(got) >= .02*b.demand(now)*float64(b.Pace().Weight) || parts > One/20
	if o.need && got > 0 && b.Pace().cap(b.part.wide()) < quantum*b.Pace().Weight {
		useful = true
	}
	m.asking.done(i, useful, r.Wait, now)
}

// hold takes a part of another node.
func (m *more) hold(h slice, now int64) bool {
	if h.end -= h.end % milli; h.end <= now { // whole ones take less at rest
		return false
	}
	for i := range m.held {
		if o := &m.held[i]; o.from == h.from && o.stamp == h.stamp {
			o.part += h.part
			o.end = min(o.end, h.end)
			return true
		}
	}
	if len(m.held) >= maxHeld {
		return false
	}
	m.held = append(m.held, h)
	return true
}

// Slow says that the answer to a question takes longer than usual: requests may ask others
// meanwhile, and go on waiting for it too.
func (b *Bucket) Slow(id uint64, from Peer) {
	i := b.more.find(id, from)
	if i < 0 {
		return
	}
	if o := &b.more.asking.open[i]; o.need && !o.slow && !o.late {
		o.slow = true
		b.more.asking.waiting--
	}
}

// Late says that requests wait no longer for an answer, and that the peer seems not to
// be reachable. The answer is still taken.
func (b *Bucket) Late(id uint64, from Peer, now int64) {
	i := b.more.find(id, from)
	if i < 0 || b.more.asking.open[i].late {
		return
	}
	now = b.settle(now)
	b.more.see(from, State{}, 0)
	if v := b.more.viewOf(from); v != nil {
		v.down = now + unreachable
	}
	o := &b.more.asking.open[i]
	o.late = true
	if o.need && !o.slow {
		b.more.asking.less(false, 0, now)
	}
}

// Lost gives a question up: no answer to it will be taken.
func (b *Bucket) Lost(id uint64, from Peer, now int64) {
	b.Late(id, from, now)
	if i := b.more.find(id, from); i >= 0 {
		b.more.asking.open = slices.Delete(b.more.asking.open, i, i+1)
	}
}

// find is the place of a question that is open; -1: there is none.
func (m *more) find(id uint64, from Peer) int {
	if m == nil {
		return -1
	}
	return slices.IndexFunc(m.asking.open, func(o open) bool { return o.id == id && o.to == from })
}

// done ends an exchange.
func (a *asking) done(i int, useful bool, wait, now int64) {
	o := a.open[i]
	a.open = slices.Delete(a.open, i, i+1)
	switch {
	case o.late:
	case o.slow && useful:
		a.fruitful()
	case o.slow:
	case o.need:
		a.less(useful, wait, now)
	case useful:
		a.ahead, a.aheadAt = 0, now+aheadFirst/2
	}
}

// less counts an exchange of those that requests wait for, and settles the patience with
// the last one.
func (a *asking) less(useful bool, wait, now int64) {
	a.waiting--
	a.got = a.got || useful
	if a.waiting > 0 {
		return
	}
	if a.got {
		a.fruitful()
		return
	}
	a.back = min(backMost, max(backFirst, 2*a.back))
	a.next = now + a.back
	if wait > 0 { // a refused charge, which says how long
		a.next = now + min(wait, a.back, chargeMost)
	}
}

// fruitful ends the patience: somebody had something.
func (a *asking) fruitful() { a.back, a.next, a.probing, a.probe = 0, 0, 0, 0 }

// view is what is known of a peer.
type view struct {
	peer Peer
	at   int64
	down int64 // until then it is taken for unreachable
	s    State
}

// viewOf is what is known of a peer; nil for nothing.
func (m *more) viewOf(p Peer) *view {
	if m == nil {
		return nil
	}
	for i := range m.views {
		if m.views[i].peer == p {
			return &m.views[i]
		}
	}
	return nil
}

// see keeps a peer's state. at 0 only makes the entry.
func (m *more) see(p Peer, s State, at int64) {
	v := m.viewOf(p)
	if v == nil {
		if len(m.views) >= maxViews {
			return // nothing known is as good as an old word
		}
		m.views = append(m.views, view{peer: p})
		v = &m.views[len(m.views)-1]
	}
	if at > 0 {
		v.s, v.at = s, at
	}
}

// Hint takes a peer's word that nobody asked for.
func (b *Bucket) Hint(from Peer, s State, now int64) {
	if s.Part >= 0 && s.Part <= One {
		b.use().see(from, s, max(now, 1))
	}
}
