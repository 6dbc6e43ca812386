package share

// quantum is the units below which a part is of no use alone: tokens are lent then.
const quantum = 4

// OnFetch answers a peer. ok is false for a repeat of an exchange that is forgotten, and
// the peer then gets no answer.
func (b *Bucket) OnFetch(from Peer, f *Fetch, now int64) (r Reply, ok bool) {
	now = b.settle(now)
	m := b.use()
	p := m.peer(from, now)
	if p == nil {
		return Reply{}, false
	}
	if old, _, found, late := p.again(f.ID); found || late {
		if old == nil {
			return Reply{}, false
		}
		return *old, true
	}
	r.ID = f.ID
	if f.Charge {
		charge(b, f, now, &r)
	} else {
		lend(b, from, f, now, &r)
	}
	r.State = b.State(now)
	p.remember(f.ID, &r, nil, now)
	return r, true
}

// State describes the bucket to other nodes.
func (b *Bucket) State(now int64) State {
	return State{Tok: b.tok, Part: b.part.wide(), Demand: b.demand(now)}
}

// gatherFor is when to ask again while the home gathers the parts of a tiny bucket.
const gatherFor int64 = 2e6

// charge is the home's answer for a tiny bucket: all that is asked for, or nothing.
func charge(b *Bucket, f *Fetch, now int64, r *Reply) {
	b.Count(max(f.Need, 0)/b.Pace().Weight, now)
	switch {
	case f.Need <= 0 || f.Need > b.Pace().full():
	case f.Need > b.tok || f.Need > backing(b, now, b.Pace().hold()) || len(b.more.holds) >= maxHolds:
		if r.Wait = gatherFor; b.part.wide() >= whole {
			r.Wait = b.Pace().wait(max(f.Need-b.tok, 1), b.part.wide())
		}
	default:
		b.tok -= f.Need
		r.Tokens, r.Held = f.Need, f.Need
		b.more.holds = append(b.more.holds, hold{now + b.Pace().hold(), f.Need})
		b.rights(now)
	}
}

// lend splits parts and tokens by demand. First go the parts that are the asking node's
// own, then some of the base.
func lend(b *Bucket, from Peer, f *Fetch, now int64, r *Reply) {
	give, tokens := deal(b, f, now)
	b.parts(from, give, now, r)
	covered := int64(0)
	for _, g := range r.Grants {
		covered += b.Pace().cap(g.Part)
	}
	b.rights0(now)
	// Tokens that do not fit here any more go along, as far as the parts cover them.
	if over := b.tok - tokens - b.cap; over > 0 {
		tokens += min(over, max(0, covered-tokens))
	}
	tokens = min(tokens, max(b.tok, 0))
	if held := tokens - covered; held > 0 {
		// What no part covers is covered by what stays here.
		if len(b.more.holds) >= maxHolds {
			held = 0
		}
		held = max(0, min(held, backing(b, now, b.Pace().hold())))
		tokens = covered + held
		if held > 0 {
			r.Held = held
			b.more.holds = append(b.more.holds, hold{now + b.Pace().hold(), held})
		}
	}
	b.tok -= tokens
	b.moved = b.moved || tokens > 0
	r.Tokens = tokens
	b.rights(now)
	b.more.see(from, State{Tok: f.Tok + tokens, Part: f.Part + sum(r.Grants), Demand: f.Demand}, now)
}

func sum(gs []Grant) (x Part) {
	for _, g := range gs {
		x += g.Part
	}
	return x
}

// deal is how much of its part and of its tokens this node gives away: that the two are
// left in proportion to demand. Only [Bucket.parts] and the holds decide what may be given.
func deal(b *Bucket, f *Fetch, now int64) (give Part, tokens int64) {
	if f.All {
		return b.part.wide(), max(0, b.tok)
	}
	mine, theirs := b.demand(now), max(f.Demand, 1e-6)
	phi := mine / (mine + theirs)
	if f.Need == 0 {
		phi = max(phi, .1)
	}
	sum := float64(f.Part + b.part.wide())
	keep := phi * sum
	if keep/float64(One)*float64(b.Pace().Burst) < 2 && mine < theirs {
		keep = 0
	}
	give = max(0, min(b.part.wide(), b.part.wide()-Part(keep)))
	if float64(give) < .1*sum && keep > 0 || b.Pace().cap(f.Part+give) < quantum*b.Pace().Weight {
		give = 0
	}

	unit := b.Pace().Weight
	busy := mine >= float64(b.part.wide())/float64(One)*b.Pace().perSecond()
	tokens = max(0, min(b.tok, b.tok-int64(phi*float64(max(f.Tok, 0)+max(b.tok, 0)))))
	if !busy { // what it refills would be lost at its cap
		tokens = max(tokens, b.tok-b.cap+b.cap/10)
	}
	if f.Need > 0 {
		switch {
		case busy && b.tok < 2*unit && mine >= .2*theirs:
			tokens = 0 // its own requests take them
		case tokens < f.Need:
			tokens = max(0, min(b.tok, f.Need))
		}
	}
	return give, min(tokens, b.Pace().cap(give)+max(f.Room, f.Need))
}

// parts takes give out of what this node has: what from owns, then the base. It never
// takes what backs a hold.
func (b *Bucket) parts(from Peer, give Part, now int64, r *Reply) {
	m := b.more
	if len(m.holds) > 0 {
		// A level more for each part that is rounded down.
		free := backing(b, now, b.Pace().hold())
		for give > 0 && b.Pace().cap(give)+2 > free {
			give /= 2
		}
	}
	for i := range m.held {
		h := &m.held[i]
		if h.from != from || give <= 0 || len(r.Grants) >= maxGrants-1 {
			continue
		}
		x := min(give, h.part)
		h.part -= x
		give -= x
		r.Grants = append(r.Grants, Grant{Home: true, Stamp: h.stamp, Part: x})
	}
	m.held = keep(m.held, func(h *slice) bool { return h.part > 0 })
	if x := min(give, m.own(b.base.wide(), now)); x > 0 {
		stamp := (now + TTL + grain - 1) / grain * grain
		if m.lendTo(from, x, stamp) {
			r.Grants = append(r.Grants, Grant{Stamp: stamp, Part: x})
		}
	}
}

// maxGrants bounds the parts of one answer.
const maxGrants = 8

// lendTo notes a loan; false: there are too many.
func (m *more) lendTo(to Peer, x Part, stamp int64) bool {
	for i := range m.lent {
		if l := &m.lent[i]; l.to == to && l.end == stamp {
			l.part += x
			return true
		}
	}
	if len(m.lent) >= maxLent {
		return false
	}
	m.lent = append(m.lent, loan{to, stamp, x})
	return true
}

// rights0 is rights without cutting the tokens: they are on their way out.
func (b *Bucket) rights0(now int64) {
	tok := b.tok
	b.rights(now)
	b.tok = tok
}

// backing is the level of the cap that surely stays here for d, without what holds use
// already. What is lent to this node may end sooner.
func backing(b *Bucket, now, d int64) int64 {
	m := b.more
	x := m.own(b.base.wide(), now)
	for _, h := range m.held {
		if h.end > now+d {
			x += h.part
		}
	}
	free := b.Pace().cap(x)
	for _, h := range m.holds {
		free -= h.level
	}
	return max(0, free)
}

// OnRenew answers a borrower that asks to keep a part.
func (b *Bucket) OnRenew(from Peer, q *Renew, now int64) (r Renewed, ok bool) {
	now = b.settle(now)
	m := b.use()
	p := m.peer(from, now)
	if p == nil {
		return Renewed{}, false
	}
	if _, old, found, late := p.again(q.ID); found || late {
		if old == nil {
			return Renewed{}, false
		}
		return *old, true
	}
	r = Renewed{ID: q.ID, Stamp: (now + TTL + grain - 1) / grain * grain, Left: m.grace - now}
	if l := m.loanOf(from, q.Stamp); l != nil {
		all := max(0, min(q.Part, l.part))
		short := min(all, max(0, m.lentAll()-b.base.wide())) // beyond the base: not past the grace
		whole := all - short
		if m.grace <= now || m.grace < l.end {
			short = 0 // stays where it is: a loan never gets an earlier end
		}
		if whole > 0 && (l.end == r.Stamp || m.room(from, r.Stamp)) {
			l.part -= whole
			m.lendTo(from, whole, r.Stamp)
			r.Part = whole
			l = m.loanOf(from, q.Stamp)
		}
		if short > 0 && l != nil && m.room(from, m.grace) {
			l.part -= short
			m.lendTo(from, short, m.grace)
			r.Short = short
		}
		m.expire(now)
	}
	p.remember(q.ID, nil, &r, now)
	b.rights(now)
	return r, true
}

func (m *more) room(to Peer, stamp int64) bool {
	return len(m.lent) < maxLent || m.loanOf(to, stamp) != nil
}

func (m *more) loanOf(to Peer, stamp int64) *loan {
	for i := range m.lent {
		if l := &m.lent[i]; l.to == to && l.end == stamp {
			return l
		}
	}
	return nil
}

// OnReturn takes a part back.
func (b *Bucket) OnReturn(from Peer, q *Return, now int64) {
	now = b.settle(now)
	m := b.use()
	p := m.peer(from, now)
	if p == nil {
		return
	}
	if _, _, found, late := p.again(q.ID); found || late {
		return
	}
	p.remember(q.ID, nil, nil, now)
	if x := b.home(from, q.Part, q.Stamp, now); x > 0 {
		b.rights0(now)
		b.tok += max(0, min(q.Tokens, b.Pace().cap(x)))
		b.moved = true
	}
	b.rights(now)
}

// home takes a part of the base back that was lent to a peer with a stamp, and returns
// how much of it was.
func (b *Bucket) home(from Peer, x Part, stamp, now int64) Part {
	m := b.more
	l := m.loanOf(from, stamp)
	if l == nil || x <= 0 {
		return 0
	}
	x = min(x, l.part)
	was := m.own(b.base.wide(), now)
	l.part -= x
	if over := x - (m.own(b.base.wide(), now) - was); over > 0 && now >= m.quarantine && now < m.grace && len(m.held) < maxHeld {
		// It was lent from a base that is smaller now: usable until its grace ends.
		m.held = append(m.held, slice{from: nobody, end: min(m.grace, stamp), part: over})
	}
	m.expire(now)
	return x
}
