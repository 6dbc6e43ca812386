package share

import (
	"cmp"
	"slices"
)

// The patience with exchanges that were of no use: requests at a spent limit cost a
// bounded number of messages, at any rate of requests.
const (
	backFirst   int64 = 10e6
	backMost    int64 = 1e9
	aheadFirst  int64 = 20e6
	chargeMost  int64 = 50e6
	aheadAgain  int64 = 20e6 // after there was nobody to ask
	askEvery    int64 = 50e6 // rounds of questions about one bucket, on average; see asking.budget
	askBurst          = 10
	unreachable int64 = 100e6 // after an answer did not come in time; the caller knows what goes on for longer
)

// Peers are the nodes that a bucket may ask.
type Peers struct {
	Up   []Peer // can be reached
	Base Part   // of each of them, for those that nothing is known about
	// Home is the node that charges a tiny bucket, if Tiny is set; this one if Here, and
	// Home is not read then.
	Tiny, Here bool
	Home       Peer
}

// Sent is a message to a peer. Its ID is from the caller's next.
type Sent struct {
	To    Peer
	Fetch Fetch
}

// asking is the exchanges of a bucket that are under way, and what the last ones were
// worth.
type asking struct {
	open    []open
	waiting int   // of open, those that requests wait for
	got     bool  // one of this round was of use
	back    int64 // how long to believe the hints that somebody has tokens, after they were wrong
	next    int64
	probing int64 // the same for questions without a hint
	probe   int64
	ahead   int64 // the same for those that nobody waits for
	aheadAt int64
	budget  int64 // askBurst rounds at once, one each askEvery: GCRA
}

// afford takes one round of questions from the budget.
func (a *asking) afford(now int64) bool { return a.affordEach(askEvery, now) }

// affordEach is afford with another rhythm.
func (a *asking) affordEach(every, now int64) bool {
	if a.budget > now+(askBurst-1)*every {
		return false
	}
	a.budget = max(a.budget, now) + every
	return true
}

// chargeEvery is the rhythm of charges of a tiny bucket: twice its rate, where that is more
// than that of other questions.
func (p Pace) chargeEvery() int64 { return min(askEvery, int64(1e9/p.perSecond()/2)) }

// open is a fetch without an answer.
type open struct {
	id   uint64
	to   Peer
	at   int64 // when it was first sent: what it brings is counted from then
	need bool  // a request waits for it
	slow bool  // requests look elsewhere too; see Slow
	late bool  // no request waits any more
	hold int64 // how long what no part covers may be kept
}

func (a *asking) busy() bool { return len(a.open) > 0 }

// asks reports whether a question to a peer is open.
func (a *asking) asks(p Peer) bool {
	return slices.ContainsFunc(a.open, func(o open) bool { return o.to == p && o.need && !o.late })
}

// Slowly reports whether the answer to a question is still worth waiting for although it
// takes longer than usual.
func (b *Bucket) Slowly() bool {
	return b.more != nil && slices.ContainsFunc(b.more.asking.open, func(o open) bool { return o.slow && !o.late })
}

// Asking reports whether an exchange is under way that a request may wait for.
func (b *Bucket) Asking() bool { return b.more != nil && b.more.asking.waiting > 0 }

// Ask returns the questions to send for a request that lacks units here. None means that
// there is no use in asking, or that there was none a moment ago. While [Bucket.Asking],
// wait for that exchange instead. draw is a random number.
func (b *Bucket) Ask(units int64, ps *Peers, next func() uint64, draw uint64, now int64) []Sent {
	now = b.settle(now)
	m := b.use()
	a := &m.asking
	need := units*b.Pace().Weight - b.tok
	if a.waiting > 0 || need <= 0 || units > b.Pace().Burst || len(a.open) >= maxAsking {
		return nil
	}
	if silence := now - b.seen; b.seen > 0 && float64(silence) > 2e9*tau(b.Pace()) {
		*a = asking{open: a.open, budget: a.budget}
	}
	a.got = false
	if ps.Tiny && !ps.Here {
		if now < a.next || !slices.Contains(ps.Up, ps.Home) || a.asks(ps.Home) || !a.affordEach(b.Pace().chargeEvery(), now) {
			return nil
		}
		return []Sent{b.send(ps.Home, Fetch{ID: next(), Need: units * b.Pace().Weight, Charge: true}, now)}
	}
	if ps.Tiny {
		if now < a.next {
			return nil
		}
		return gather(b, ps, need, next, now)
	}
	to := promising(b, need, ps, now)
	if to == nil {
		to = probes(b, ps, draw, now)
	}
	if to == nil || !a.afford(now) {
		return nil
	}
	var out []Sent
	share := room(b, len(to))
	for _, p := range to {
		out = append(out, b.send(p, Fetch{ID: next(), Need: need, Room: need + share}, now))
	}
	return out
}

// gather asks every node for all that it has of a tiny bucket, which this node charges.
func gather(b *Bucket, ps *Peers, need int64, next func() uint64, now int64) (out []Sent) {
	a := &b.more.asking
	if b.part.wide() >= whole || !a.afford(now) {
		return nil
	}
	for _, p := range ps.Up {
		if v := b.more.viewOf(p); (v == nil || v.down <= now) && len(a.open) < maxAsking && !a.asks(p) {
			out = append(out, b.send(p, Fetch{ID: next(), Need: need, All: true}, now))
		}
	}
	return out
}

// whole is nearly One: the bases of nodes are rounded down.
const whole = One - One/1024

// room is what each of n lenders may give so that their tokens fit here together.
func room(b *Bucket, n int) int64 { return max(0, b.cap-max(b.tok, 0)) / int64(max(n, 1)) }

// Again is when it makes sense to try again where there was nothing to ask: when units
// have refilled here, or a tiny bucket may be asked about again.
func (b *Bucket) Again(units int64, ps *Peers, now int64) int64 {
	at := Forever
	if d := b.Pace().wait(units*b.Pace().Weight-b.tok, b.part.wide()); d < Forever-now {
		at = now + d
	}
	if m := wake(b); m != nil && ps.Tiny && m.asking.next > now {
		at = min(at, m.asking.next)
	}
	return at
}

// send notes an exchange, and fills in the state of this node.
func (b *Bucket) send(to Peer, f Fetch, now int64) Sent {
	f.Tok, f.Part, f.Demand = b.tok, b.part.wide(), b.demand(now)
	o := open{id: f.ID, to: to, at: now, need: f.Need > 0, hold: b.Pace().hold()}
	a := &b.more.asking
	a.open = append(a.open, o)
	if o.need {
		a.waiting++
	}
	return Sent{to, f}
}

// candidate is a peer that may have something.
type candidate struct {
	peer  Peer
	tok   float64 // levels that it may give
	spare float64 // its unused part of the rate, in units a second
}

// candidates are the peers that may have something, the best first.
func candidates(b *Bucket, ps *Peers, now int64) []candidate {
	var out []candidate
	mine := b.demand(now)
	unit, rate := float64(b.Pace().Weight), b.Pace().perSecond()
	for _, p := range ps.Up {
		v := b.more.viewOf(p)
		if v != nil && v.down > now || b.more.asking.asks(p) {
			continue
		}
		s := guess(v, b.Pace(), ps.Base, now)
		own := float64(s.Part) / float64(One) * rate
		c := candidate{peer: p, tok: float64(s.Tok)}
		if s.Demand < .9*own {
			c.spare = own - s.Demand
		}
		if s.Demand >= own { // it spends all that it gets: whole tokens beyond its part of them
			if c.tok < 2*unit {
				c.tok = 0
			} else {
				c.tok -= (c.tok + float64(max(b.tok, 0))) * s.Demand / (s.Demand + mine)
			}
		}
		if c.tok >= .05*unit || c.spare > .02*rate {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(x, y candidate) int {
		return -cmp.Compare(x.tok+.2*x.spare*unit, y.tok+.2*y.spare*unit)
	})
	return out
}

// guess is the state of a peer by its last word, or its whole base if that is older than
// a loan: an old word that it had nothing means nothing.
func guess(v *view, p Pace, base Part, now int64) State {
	if v == nil || v.at == 0 || now-v.at > TTL {
		return State{Tok: p.cap(base), Part: base}
	}
	s, age := v.s, float64(now-v.at)/1e9
	net := float64(s.Part)/float64(One)*p.perSecond() - s.Demand // units a second
	s.Tok = max(0, min(p.cap(s.Part), s.Tok+int64(net*age*float64(p.Weight))))
	return s
}

// Known is the level of the whole bucket as far as this node knows: its own tokens, and
// those of the peers by their last word. It is for showing, and decides nothing.
func Known(b *Bucket, ps *Peers, now int64) int64 {
	sum := b.tok
	for _, p := range ps.Up {
		if v := word(b, p); v.down <= now {
			sum += lastWord(&v, b.Pace(), ps.Base, now)
		}
	}
	return min(sum, b.Pace().full())
}

// lastWord is the tokens of a peer if it has admitted nothing since its last word: it tells
// of what it admits ([Told]).
func lastWord(v *view, p Pace, base Part, now int64) int64 {
	if v.at == 0 {
		return p.cap(base)
	}
	return max(0, min(p.cap(v.s.Part), v.s.Tok+p.gain(max(now-v.at, 0)/p.Tick, v.s.Part)))
}

// Told is what a node has told others about a bucket last.
type Told struct {
	tok float32 // levels; for comparing only
	at  uint32  // milliseconds, modulo 2^32; 0: nothing
}

// Tell returns the state of the bucket, and whether it differs from what others take it for
// by a unit, and by a sixty-fourth of what is here, or may differ because tokens were exchanged.
func (t *Told) Tell(b *Bucket, now int64) (s State, due bool) {
	s = b.State(now)
	most := b.Pace().cap(s.Part)
	expected := b.Pace().cap(b.base.wide())
	ms := uint32(now / milli)
	if t.at > 0 {
		age := int64(max(0, int32(ms-t.at))) * milli
		expected = min(most, int64(t.tok)+b.Pace().gain(age/b.Pace().Tick, s.Part))
	}
	off := expected - s.Tok
	if due = b.moved || max(off, -off) >= max(b.Pace().Weight, most/64); due {
		t.tok, t.at, b.moved = float32(s.Tok), max(ms, 1), false
	}
	return s, due
}

// promising is the peers to ask by the hints; nil if these promise too little.
func promising(b *Bucket, need int64, ps *Peers, now int64) (to []Peer) {
	a := &b.more.asking
	if now < a.next {
		return nil
	}
	unit := float64(b.Pace().Weight)
	want := max(float64(need), b.demand(now)*.1*unit)
	// Tokens that no part covers are wasted on a node without one: one lender at a time.
	single := b.Pace().cap(b.part.wide()) < quantum*b.Pace().Weight
	sum := 0.
	for _, c := range candidates(b, ps, now) {
		to = append(to, c.peer)
		sum += c.tok
		if single && c.tok >= min(float64(need), unit) || sum >= want+unit {
			break
		}
	}
	if sum < min(float64(need), unit) {
		return nil
	}
	return to
}

// probes is the peers to ask without a hint: all at first, then the one with most and
// one more.
func probes(b *Bucket, ps *Peers, draw uint64, now int64) (to []Peer) {
	a := &b.more.asking
	if now < a.probe {
		return nil
	}
	best := nobody
	most := Part(-1)
	for _, p := range ps.Up {
		v := b.more.viewOf(p)
		if v != nil && v.down > now || b.more.asking.asks(p) {
			continue
		}
		to = append(to, p)
		if s := guess(v, b.Pace(), ps.Base, now); s.Part > most {
			best, most = p, s.Part
		}
	}
	if a.probing > 0 && len(to) > 2 {
		other := to[draw%uint64(len(to))]
		if to = []Peer{best}; other != best {
			to = append(to, other)
		}
	}
	a.probing = min(backMost, max(backFirst, 2*a.probing))
	a.probe = now + a.probing
	return to
}

// Low reports, after a request has passed, whether it is time to ask for more ahead of
// use: demand is beyond the part here, and the cap is not full. Waiting for few tokens
// would waste the refill of full peers.
func (b *Bucket) Low(now int64) bool {
	if b.part.wide() >= whole || !b.gathers && b.tok > b.cap-b.cap/10 {
		return false
	}
	if now < aheadAt(b) || b.more != nil && len(b.more.asking.open) > b.more.asking.waiting {
		return false
	}
	return b.gathers || b.demand(now) > float64(b.part.wide())/float64(One)*b.Pace().perSecond()
}

// AskAhead returns the questions to send when the bucket is Low.
func (b *Bucket) AskAhead(ps *Peers, next func() uint64, now int64) (out []Sent) {
	now = b.settle(now)
	m := b.use()
	a := &m.asking
	if ps.Tiny && !ps.Here || now < a.aheadAt || len(a.open) > a.waiting || len(a.open) >= maxAsking {
		return nil
	}
	if ps.Tiny {
		a.ahead = min(backMost, max(aheadFirst, 2*a.ahead))
		a.aheadAt = now + a.ahead
		return gather(b, ps, 0, next, now)
	}
	unit, rate := float64(b.Pace().Weight), b.Pace().perSecond()
	for _, c := range candidates(b, ps, now) {
		if c.tok < unit && c.spare < .02*rate || len(out) == 2 || len(out) == 0 && !a.afford(now) {
			continue
		}
		out = append(out, b.send(c.peer, Fetch{ID: next(), Room: room(b, 2)}, now))
	}
	a.aheadAt = now + aheadAgain
	if len(out) > 0 {
		a.ahead = min(backMost, max(aheadFirst, 2*a.ahead))
		a.aheadAt = now + a.ahead
	}
	return out
}
