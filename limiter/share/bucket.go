package share

import (
	"math"
	"unique"
)

// The times of loans and exchanges, in nanoseconds.
const (
	// TTL is how long a part is lent for.
	TTL int64 = 5e9
	// grain is the grain of stamps: loans of a quarter of a second have the same one,
	// so that an owner has few.
	grain = TTL / 20
	// holdMost is how long a lender keeps its cap for tokens that no part covers, at most:
	// as long as a request waits for them. See [Pace.hold].
	holdMost  int64 = 250e6
	holdLeast int64 = 12e6
)

// shorter is the time that a borrower counts where the lender counts d: clocks may
// differ by 0.1 % in their rates.
func shorter(d int64) int64 { return d - d/1000 - 1 }

// Peer is one process of another node: a number that the caller gives it, and gives to
// no other node and no other start of the same one. So rights of a process that has
// ended are never taken for its successor's.
type Peer int32

// nobody is the owner of parts that exist only for a while after the base shrank.
const nobody Peer = -1

// Bucket is one node's side of a bucket. The zero value is not a bucket; see [New].
type Bucket struct {
	pace unique.Handle[Pace] // most buckets have one of few
	tok  int64               // levels; below 0 after a limit was lowered
	at   int64               // when tok was true
	next int64               // the first end of anything in more; forever if there is none
	cap  int64               // most that tok may be, until next

	part narrowPart // own and held, until next
	base narrowPart // own, before what is lent
	// gathers says that this node is the home of a tiny bucket: it borrows all of it.
	gathers bool
	// moved says that tokens have come or gone by an exchange, so that those who were not
	// part of it take the bucket for another one; see Told.
	moved bool
	dem   float32 // demand in units a second, decaying, as of seen
	seen  int64   // the last request; 0: none

	more *more  // nil: nothing lent, held, asked or answered, or it is in rest
	rest string // more in a compact form, while it is not used; see Rest
}

// more is the state of exchanges, as they use it. A bucket without any has none.
type more struct {
	quarantine int64 // the base counts from then on
	grace      int64 // end of the parts that were in use when the base shrank last
	lent       []loan
	held       []slice
	holds      []hold // of this node's cap, for tokens elsewhere
	loose      []hold // tokens here that are covered elsewhere
	asking     asking
	views      []view
	past       []past
	renewing   []renewal
}

// loan is a part that this node lent. end is the stamp: this node takes the part back then.
type loan struct {
	to   Peer
	end  int64
	part Part
}

// slice is a part of another node that this node has until end. stamp is the loan's end
// on the owner's clock, by which the two talk about it.
type slice struct {
	from  Peer
	stamp int64
	end   int64
	part  Part
}

// hold is an amount of cap, until end.
type hold struct {
	end   int64
	level int64
}

// Bounds of more: what is beyond them is not lent, or not kept. A part is lent with at
// most 21 stamps at a time, to each peer.
const (
	maxLent   = 64
	maxHeld   = 64
	maxHolds  = 64
	maxPast   = 4 // answers kept for each peer; an exchange is repeated for 32 ms
	maxViews  = 32
	maxAsking = 32
)

// New is a bucket that is as full as its base.
func New(p Pace, base Part, now int64) *Bucket {
	b := &Bucket{pace: unique.Make(p), base: narrow(base), at: now, next: Forever, part: narrow(base), cap: p.cap(base)}
	b.tok = b.cap
	return b
}

// NewEmpty is a bucket of which nobody has spent or lent this node's part, while others
// may have spent the whole: without tokens, and refilling from now on.
func NewEmpty(p Pace, base Part, now int64) *Bucket { return NewWith(p, base, 0, now) }

// NewWith is a bucket with some of the tokens of its base.
func NewWith(p Pace, base Part, tok, now int64) *Bucket {
	b := New(p, base, now)
	b.tok = min(max(tok, 0), b.cap)
	return b
}

// NewAfterStart is a bucket of a process that began at started, and whose predecessor
// may have used it until then: its base counts from started + TTL on, when every loan of
// the predecessor has ended, and was empty then.
func NewAfterStart(p Pace, base Part, started, now int64) *Bucket {
	b := &Bucket{pace: unique.Make(p), base: narrow(base), at: started, more: &more{quarantine: started + TTL}}
	b.rights(started)
	b.Advance(now)
	return b
}

// SetHome says whether this node is the home of a tiny bucket.
func (b *Bucket) SetHome(is bool) { b.gathers = is }

// Pace is the limit that the bucket was last used under.
func (b *Bucket) Pace() Pace { return b.pace.Value() }

// Adopt brings the bucket to the limit p: what was consumed stays consumed.
func (b *Bucket) Adopt(p Pace, now int64) {
	if p == b.Pace() {
		return
	}
	now = b.settle(now)
	if m := wake(b); m != nil && m.loose != nil {
		m.loose = nil // granted under the old limit, for requests of then
		b.rights(now)
	}
	was := b.Pace()
	b.pace = unique.Make(p)
	if was.Weight != p.Weight || was.Tick != p.Tick {
		b.tok = min(b.tok, 0) // in another unit: at most everything was consumed
		b.rights(now)
		return
	}
	b.tok += p.cap(b.part.wide()) - was.cap(b.part.wide())
	b.rights(now)
}

// Advance brings the bucket to now. A time before the last one counts as that.
func (b *Bucket) Advance(now int64) {
	for b.next <= now {
		t := max(b.next, b.at)
		b.refill(t)
		b.at = t
		wake(b).expire(t)
		b.rights(t)
	}
	if now > b.at {
		b.refill(now)
	}
}

// settle is Advance before a change of rights: the time up to now counts for those that
// were there. It returns the time of the bucket.
func (b *Bucket) settle(now int64) int64 {
	b.Advance(now)
	b.at = max(b.at, now)
	return b.at
}

// fine is a refill that is not worth a step: whole steps lose their fractions of a
// level, and requests may come faster than levels.
const fine = 1 << 12

func (b *Bucket) refill(now int64) {
	if b.tok >= b.cap {
		b.at = now
		return
	}
	n := (now - b.at) / b.Pace().Tick
	gain := b.Pace().gain(n, b.part.wide())
	if gain >= b.cap-b.tok { // also of a bucket without a part, above its cap by nothing
		b.tok, b.at = b.cap, now
		return
	}
	if gain < fine && now < b.next {
		return
	}
	b.tok += gain
	b.at += n * b.Pace().Tick
}

// rights works out part, cap and next as of now, and cuts the tokens to the cap. The
// bucket has been settled at now.
func (b *Bucket) rights(now int64) {
	b.part, b.next = b.base, Forever
	m := b.more
	if m == nil {
		b.cap = b.Pace().cap(b.part.wide())
		b.tok = min(b.tok, b.cap)
		return
	}
	own := m.own(b.base.wide(), now)
	held, holds, loose := Part(0), int64(0), int64(0)
	if m.quarantine > now {
		b.next = m.quarantine
	}
	for _, l := range m.lent {
		b.next = min(b.next, l.end)
	}
	for _, h := range m.held {
		held += h.part
		b.next = min(b.next, h.end)
	}
	for _, h := range m.holds {
		holds += h.level
		b.next = min(b.next, h.end)
	}
	for _, h := range m.loose {
		loose += h.level
		b.next = min(b.next, h.end)
	}
	b.part = narrow(own + held)
	b.cap = max(0, b.Pace().cap(b.part.wide())-holds) + loose
	b.tok = min(b.tok, b.cap)
}

// own is the part of the base that is here.
func (m *more) own(base Part, now int64) Part {
	if now < m.quarantine {
		return 0
	}
	return max(0, base-m.lentAll())
}

func (m *more) lentAll() (sum Part) {
	for _, l := range m.lent {
		sum += l.part
	}
	return sum
}

// expire drops what has ended by now.
func (m *more) expire(now int64) {
	if m.quarantine <= now {
		m.quarantine = 0
	}
	m.lent = keep(m.lent, func(l *loan) bool { return l.end > now && l.part > 0 })
	m.held = keep(m.held, func(h *slice) bool { return h.end > now && h.part > 0 })
	m.holds = keep(m.holds, func(h *hold) bool { return h.end > now && h.level > 0 })
	m.loose = keep(m.loose, func(h *hold) bool { return h.end > now && h.level > 0 })
}

func keep[T any](s []T, ok func(*T) bool) []T {
	out := s[:0]
	for i := range s {
		if ok(&s[i]) {
			out = append(out, s[i])
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Has reports whether units are here. Advance comes first.
func (b *Bucket) Has(units int64) bool { return b.tok >= units*b.Pace().Weight }

// Spend takes units that Has has found.
func (b *Bucket) Spend(units int64) { b.tok -= units * b.Pace().Weight }

// Left is the units that are here.
func (b *Bucket) Left() int64 { return max(0, b.tok) / b.Pace().Weight }

// Wait is the time until units are here by this node's own refill, in nanoseconds; where
// it has no part, as if it got its base back. Forever if they never are.
func (b *Bucket) Wait(units int64) int64 {
	level := units*b.Pace().Weight - b.tok
	if level <= 0 {
		return 0
	}
	if units > b.Pace().Burst {
		return Forever
	}
	return b.Pace().wait(level, max(b.part.wide(), b.base.wide(), One/16))
}

// Reset is the time until what is here is at its cap, in nanoseconds.
func (b *Bucket) Reset() int64 { return b.Pace().wait(b.cap-b.tok, b.part.wide()) }

// Refills is the time in which the own part of b's node becomes whole, if nothing is lent.
func Refills(b *Bucket) int64 { return b.Pace().wait(b.Pace().cap(b.base.wide())-b.tok, b.base.wide()) }

// Count counts a request of units, whether it passes or not, as demand. Once for each.
func (b *Bucket) Count(units, now int64) {
	b.dem = float32(b.demand(now) + float64(units)/tau(b.Pace()))
	b.seen = max(now, 1)
}

// demand is the decayed demand in units a second. Silence bounds it: two requests in
// that time would be as likely as not.
func (b *Bucket) demand(now int64) float64 {
	if b.seen == 0 {
		return 0
	}
	dt := float64(max(now-b.seen, 0)) / 1e9
	d := float64(b.dem) * math.Exp(-dt/tau(b.Pace()))
	if dt > 0 {
		d = min(d, 2/dt)
	}
	return d
}

// tau is the time in seconds over which demand is averaged: that of some five requests
// at the limit.
func tau(p Pace) float64 { return min(max(5/p.perSecond(), 0.5), 10) }

// Idle reports whether the bucket can be dropped: it is as if it were never touched, and
// has exchanged nothing for long enough that no message about it is under way.
func (b *Bucket) Idle(now int64) bool {
	b.Advance(now)
	if b.tok < b.Pace().cap(b.base.wide()) || now-b.seen < 2*TTL {
		return false
	}
	m := wake(b)
	return m == nil || len(m.lent) == 0 && len(m.held) == 0 && len(m.holds) == 0 && len(m.loose) == 0 &&
		m.quarantine == 0 && m.grace <= now && !m.asking.busy() && len(m.renewing) == 0 && m.quiet(now) && !m.heard(now)
}
