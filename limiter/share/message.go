package share

// Fetch asks another node for tokens, and for a part of what it owns.
type Fetch struct {
	ID   uint64 // of the exchange; those of one process grow
	Need int64  // levels that waiting requests lack; 0: none waits, it asks ahead of use
	// Charge asks the home of a tiny bucket for exactly Need, and no part. All is the
	// question of the home itself, for everything.
	Charge, All bool
	Room        int64   // levels that it can keep, beside the cap of a part that it is lent
	Demand      float64 // of the asking node, in units a second
	Tok         int64   // its levels
	Part        Part
}

// Grant is a part in a [Reply]. Home says that it is one of the asking node's own,
// with its stamp; else it is the answering node's.
type Grant struct {
	Home  bool
	Stamp int64
	Part  Part
}

// Reply answers a [Fetch]. Held of the Tokens are covered by a hold of the lender, not
// by the parts. A lender that has nothing sends an empty one.
type Reply struct {
	ID     uint64
	Grants []Grant
	Tokens int64
	Held   int64
	Wait   int64 // with a refused charge: nanoseconds until it may pass
	State  State
}

// State is a node's word about itself, as a hint.
type State struct {
	Tok    int64
	Part   Part
	Demand float64
}

// Renew asks the owner of a lent part to lend it for longer.
type Renew struct {
	ID    uint64
	Stamp int64
	Part  Part
}

// Renewed answers a [Renew]: Part of it is lent until Stamp now, and Short of it is only
// lent for Left nanoseconds more, because the owner's base shrank.
type Renewed struct {
	ID    uint64
	Stamp int64
	Part  Part
	Short Part
	Left  int64
}

// Return gives a lent part back, with tokens that it covers. It has no answer.
type Return struct {
	ID     uint64
	Stamp  int64
	Part   Part
	Tokens int64
}

// past is the answers to a peer's exchanges that may be repeated.
type past struct {
	peer  Peer
	floor uint64 // exchanges up to it are not answered any more
	at    int64  // of the last one
	n     int
	ids   [maxPast]uint64
	fetch [maxPast]*Reply
	renew [maxPast]*Renewed
}

// maxPeers bounds the peers that a bucket has exchanged with lately, the processes that
// ended included.
const maxPeers = 32

// peer is the answers to a peer; nil if there are too many peers.
func (m *more) peer(p Peer, now int64) *past {
	for i := range m.past {
		if m.past[i].peer == p {
			return &m.past[i]
		}
	}
	if len(m.past) >= maxPeers {
		// One that was silent for as long as a loan lasts: a repeat of its exchanges finds
		// no loan any more.
		m.past = keep(m.past, func(q *past) bool { return now-q.at < 2*TTL })
		if len(m.past) >= maxPeers {
			return nil
		}
	}
	m.past = append(m.past, past{peer: p})
	return &m.past[len(m.past)-1]
}

// again finds an exchange that was answered before. late says that it must not be
// answered: it is a repeat of one that is forgotten.
func (p *past) again(id uint64) (fetch *Reply, renew *Renewed, found, late bool) {
	for i, old := range p.ids[:p.n] {
		if old == id {
			return p.fetch[i], p.renew[i], true, false
		}
	}
	return nil, nil, false, id <= p.floor
}

// remember keeps an answer. The smallest id is forgotten for it.
func (p *past) remember(id uint64, fetch *Reply, renew *Renewed, now int64) {
	i := p.n
	if i == maxPast {
		i = 0
		for k, old := range p.ids {
			if old < p.ids[i] {
				i = k
			}
		}
		p.floor = max(p.floor, p.ids[i])
	} else {
		p.n++
	}
	p.ids[i], p.fetch[i], p.renew[i], p.at = id, fetch, renew, now
}

// quiet reports whether no exchange was answered lately.
func (m *more) quiet(now int64) bool {
	for i := range m.past {
		if now-m.past[i].at < 2*TTL {
			return false
		}
	}
	return true
}

// heard reports whether another node has said something lately.
func (m *more) heard(now int64) bool {
	for i := range m.views {
		if v := &m.views[i]; v.at > 0 && now-v.at < 2*TTL {
			return true
		}
	}
	return false
}

// forget drops answers that nobody repeats any more.
func (m *more) forget(now int64) {
	m.past = keep(m.past, func(p *past) bool { return now-p.at < 2*TTL })
}

// use is more, made if need be.
func (b *Bucket) use() *more {
	if wake(b) == nil {
		b.more = new(more)
	}
	return b.more
}
