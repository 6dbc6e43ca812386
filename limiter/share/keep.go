package share

// renewal is a renewal without an answer.
type renewal struct {
	id    uint64
	to    Peer
	stamp int64
	at    int64
}

// maxRenewing bounds the renewals of a bucket that are under way.
const maxRenewing = 16

// Note is a message that keeps or returns a part; one of the two is set.
type Note struct {
	To     Peer
	Renew  *Renew
	Return *Return
}

// idleReturn is the silence after which borrowed parts go back.
const idleReturn int64 = 1e9

// renewAt is the time that a borrowed part has left when it is renewed: an answer may take
// two seconds and be lost, and there is time to ask again. A part that ends takes its
// tokens along.
const renewAt = TTL * 7 / 10

// Tick renews the borrowed parts that are needed and near their end, and
// returns the others. Call it some times a second. While there are holds, parts that may
// back them are not returned.
func (b *Bucket) Tick(next func() uint64, now int64) (out []Note) {
	if b.more == nil && (b.rest == "" || b.rest[0]&restHeld == 0) {
		return nil
	}
	now = b.settle(now)
	m := wake(b)
	m.forget(now)
	if len(m.held) == 0 {
		return nil
	}
	need := Part(1.25 * b.demand(now) / b.Pace().perSecond() * float64(One))
	spare := b.part.wide() - min(need, One)
	if b.gathers && now-b.seen < 2*TTL || len(m.holds) > 0 {
		spare = 0
	}
	for i := range m.held {
		h := &m.held[i]
		due := h.end-now <= renewAt
		if h.from == nobody || !due && now-b.seen < idleReturn || m.renewal(h.from, h.stamp) {
			continue
		}
		if spare >= h.part/2 && spare > 0 {
			spare -= h.part
			out = append(out, giveBack(b, h, next()))
			continue
		}
		if due && len(m.renewing) < maxRenewing && len(m.held) < maxHeld/2 { // there is room for the answer
			m.renewing = append(m.renewing, renewal{next(), h.from, h.stamp, now})
			out = append(out, Note{To: h.from, Renew: &Renew{ID: m.renewing[len(m.renewing)-1].id, Stamp: h.stamp, Part: h.part}})
		}
	}
	m.expire(now)
	b.rights(now)
	return out
}

// Release returns every borrowed part: the node stops.
func (b *Bucket) Release(next func() uint64, now int64) (out []Note) {
	if wake(b) == nil {
		return nil
	}
	now = b.settle(now)
	for i := range b.more.held {
		if h := &b.more.held[i]; h.from != nobody {
			out = append(out, giveBack(b, h, next()))
		}
	}
	b.more.expire(now)
	b.rights(now)
	return out
}

// giveBack takes a part out of this bucket, with its tokens.
func giveBack(b *Bucket, h *slice, id uint64) Note {
	tokens := int64(0)
	if all, some := b.Pace().cap(b.part.wide()), b.Pace().cap(h.part); all > 0 && b.tok > 0 {
		tokens = min(some, int64(float64(b.tok)*float64(some)/float64(all)), b.tok)
	}
	b.tok -= tokens
	b.moved = b.moved || tokens > 0
	n := Note{To: h.from, Return: &Return{ID: id, Stamp: h.stamp, Part: h.part, Tokens: tokens}}
	b.part = narrow(b.part.wide() - h.part)
	h.part = 0
	return n
}

func (m *more) renewal(to Peer, stamp int64) bool {
	for _, r := range m.renewing {
		if r.to == to && r.stamp == stamp {
			return true
		}
	}
	return false
}

// takeRenewal ends a renewal; false if there is none with that id.
func (m *more) takeRenewal(id uint64, to Peer) (r renewal, ok bool) {
	if m == nil {
		return r, false
	}
	for i := range m.renewing {
		if r = m.renewing[i]; r.id == id && r.to == to {
			m.renewing = append(m.renewing[:i], m.renewing[i+1:]...)
			return r, true
		}
	}
	return r, false
}

// OnRenewed takes the answer to a renewal. The time that was gained counts from the
// moment at which the renewal was first sent.
func (b *Bucket) OnRenewed(from Peer, r *Renewed, now int64) {
	q, ok := b.more.takeRenewal(r.ID, from)
	if !ok {
		return
	}
	now = b.settle(now)
	m := b.more
	for i := range m.held {
		h := &m.held[i]
		if h.from != from || h.stamp != q.stamp {
			continue
		}
		whole := max(0, min(r.Part, h.part))
		short := max(0, min(r.Short, h.part-whole))
		h.part -= whole + short
		if whole > 0 {
			m.hold(slice{from: from, stamp: r.Stamp, end: q.at + shorter(TTL), part: whole}, now)
		}
		if short > 0 && len(m.held) < maxHeld {
			m.held = append(m.held, slice{from: nobody, end: q.at + shorter(r.Left), part: short})
		}
		break
	}
	m.expire(now)
	b.rights(now)
}

// RenewLost gives a renewal up.
func (b *Bucket) RenewLost(id uint64, to Peer) { b.more.takeRenewal(id, to) }

// Rebase changes the base, when the roster or the layout changed. A base that shrinks
// stays usable for one TTL if serving says that this node holds a serving lease at this
// moment: others grow only after that. One that grows begins without tokens.
func (b *Bucket) Rebase(base Part, serving bool, now int64) {
	if base == b.base.wide() {
		return
	}
	now = b.settle(now)
	m := b.use()
	was := m.own(b.base.wide(), now)
	shrunk := base < b.base.wide()
	b.base = narrow(base)
	if shrunk {
		if !serving {
			m.grace = 0
		} else {
			if m.grace <= now { // an earlier end also bounds what is over already
				m.grace = now + shorter(TTL)
			}
			if d := was - m.own(b.base.wide(), now); d > 0 && len(m.held) < maxHeld {
				m.held = append(m.held, slice{from: nobody, end: m.grace, part: d})
			}
		}
	}
	b.rights(now)
}
