package share

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
)

// The state of exchanges at rest: of a node of three, some 90 bytes instead of 700. In the
// order of rest and wake:
//
//	flags         1 byte: what there is
//	aheadAt       5 bytes: milliseconds
//	views, past   1 byte: their numbers, 4 bits each
//	a view        at 4 bytes, part 4, demand 2, and peer and tok
//	grace, quarantine, patience    varints
//	a past        peer, at, floor
//	lent, held    their numbers, and peer, stamp, part; of held also end
//
// Milliseconds of a view are modulo 2^32: it is a hint, and one of weeks ago is worth
// nothing. All that rights depend on is exact.
const (
	restAhead byte = 1 << iota
	restHeld
	restBases // grace or quarantine
	restPatience

	maxRested = 15 // views, or peers of past
	milli     = int64(1e6)
)

// spare are states that buckets at rest do not need: an exchange wakes its bucket.
var spare = sync.Pool{New: func() any { return new(more) }}

// Rest brings the state of exchanges into its compact form while none is under way. Call it
// after every other method that takes or makes messages; what is awake takes more memory,
// and is right all the same. Answers are not kept at rest: a repeat of an exchange, which no
// transport makes, gets none then.
func Rest(b *Bucket, now int64) {
	m := b.more
	if m == nil || m.asking.busy() || len(m.renewing) > 0 || len(m.holds) > 0 || len(m.loose) > 0 {
		return
	}
	m.forget(now)
	if m.grace <= now {
		m.grace = 0
	}
	for i := range m.views {
		if v := &m.views[i]; v.down > now {
			return
		}
	}
	if len(m.views) > maxRested || len(m.past) > maxRested {
		return
	}
	var space [256]byte
	b.rest, b.more = string(m.pack(space[:0], now)), nil
	*m = more{lent: m.lent[:0], held: m.held[:0], views: m.views[:0], past: m.past[:0]}
	spare.Put(m)
}

func (m *more) pack(out []byte, now int64) []byte {
	a := &m.asking
	flags := byte(0)
	set := func(flag byte, on bool) {
		if on {
			flags |= flag
		}
	}
	set(restAhead, a.aheadAt > now)
	set(restHeld, len(m.held) > 0)
	set(restBases, m.grace != 0 || m.quarantine != 0)
	set(restPatience, a.back|a.probing|a.ahead != 0 || max(a.next, a.probe, a.budget) > now)
	if flags == 0 && len(m.views) == 0 && len(m.past) == 0 && len(m.lent) == 0 {
		return nil
	}
	out = append(out, flags)
	if flags&restAhead != 0 {
		var at [8]byte
		binary.LittleEndian.PutUint64(at[:], uint64((a.aheadAt+milli-1)/milli))
		out = append(out, at[:5]...)
	}
	out = append(out, byte(len(m.views))|byte(len(m.past))<<4)
	for i := range m.views {
		out = m.views[i].pack(out)
	}
	if flags&restBases != 0 {
		out = appendTime(appendTime(out, m.grace, milli), m.quarantine, milli)
	}
	if flags&restPatience != 0 {
		for _, d := range [...]int64{a.back, a.probing, a.ahead} {
			out = appendTime(out, d, milli)
		}
		for _, at := range [...]int64{a.next, a.probe, a.budget} {
			if at <= now {
				at = 0
			}
			out = appendTime(out, at, milli)
		}
	}
	for i := range m.past {
		p := &m.past[i]
		out = binary.AppendVarint(out, int64(p.peer))
		out = binary.AppendVarint(out, (p.at+grain-1)/grain)
		out = binary.LittleEndian.AppendUint64(out, max(p.floor, slices.Max(p.ids[:])))
	}
	out = append(out, byte(len(m.lent)))
	for _, l := range m.lent {
		out = appendTime(binary.AppendVarint(out, int64(l.to)), l.end, grain)
		out = binary.AppendUvarint(out, uint64(l.part))
	}
	if flags&restHeld != 0 {
		out = append(out, byte(len(m.held)))
		for _, h := range m.held {
			out = appendTime(binary.AppendVarint(out, int64(h.from)), h.stamp, grain)
			out = appendTime(out, h.end, milli)
			out = binary.AppendUvarint(out, uint64(h.part))
		}
	}
	return out
}

func (v *view) pack(out []byte) []byte {
	at := v.at
	if at > 0 {
		at = max(1, at/milli)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(at))
	out = binary.LittleEndian.AppendUint32(out, uint32(narrow(v.s.Part)))
	out = binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(float32(v.s.Demand))>>16))
	return binary.AppendVarint(binary.AppendUvarint(out, uint64(v.peer)), v.s.Tok)
}

// view reads a view. near is a time soon after or before its own.
func (r *reader) view(near int64) (v view) {
	p := r.bytes(10)
	if at := uint32(little(p[:4])); at != 0 {
		ms := near / milli
		if age := int32(uint32(ms) - at); age > -1<<30 { // else it was long ago: as if nothing were known
			v.at = max(1, (ms-int64(age))*milli)
		}
	}
	v.s.Part = narrowPart(little(p[4:8])).wide()
	v.s.Demand = float64(math.Float32frombits(uint32(little(p[8:])) << 16))
	v.peer, v.s.Tok = Peer(r.uvarint()), r.varint()
	return v
}

// wake is more if there is any, brought back from rest if need be.
func wake(b *Bucket) *more {
	if b.more == nil && b.rest != "" {
		b.more = spare.Get().(*more)
		b.more.unpack(b.rest, max(b.at, b.seen))
		b.rest = ""
	}
	return b.more
}

func (m *more) unpack(p string, near int64) {
	r := reader(p)
	flags := r.bytes(1)[0]
	if flags&restAhead != 0 {
		m.asking.aheadAt = restedAhead(p)
		r.bytes(5)
	}
	n := r.bytes(1)[0]
	for range n & 15 {
		m.views = append(m.views, r.view(near))
	}
	if flags&restBases != 0 {
		m.grace, m.quarantine = r.time(milli), r.time(milli)
	}
	if flags&restPatience != 0 {
		a := &m.asking
		a.back, a.probing, a.ahead = r.time(milli), r.time(milli), r.time(milli)
		a.next, a.probe, a.budget = r.time(milli), r.time(milli), r.time(milli)
	}
	for range n >> 4 {
		m.past = append(m.past, past{peer: Peer(r.varint()), at: r.varint() * grain, floor: little(r.bytes(8))})
	}
	for range r.bytes(1)[0] {
		m.lent = append(m.lent, loan{Peer(r.varint()), r.time(grain), Part(r.uvarint())})
	}
	if flags&restHeld != 0 {
		for range r.bytes(1)[0] {
			m.held = append(m.held, slice{Peer(r.varint()), r.time(grain), r.time(milli), Part(r.uvarint())})
		}
	}
}

// restedAhead is asking.aheadAt of a state at rest; 0: it has passed.
func restedAhead(p string) int64 {
	if p[0]&restAhead == 0 {
		return 0
	}
	return int64(little(p[1:6])) * milli
}

// aheadAt is asking.aheadAt.
func aheadAt(b *Bucket) int64 {
	switch {
	case b.more != nil:
		return b.more.asking.aheadAt
	case b.rest != "":
		return restedAhead(b.rest)
	}
	return 0
}

// word is the last word of a peer; the zero view if there is none. It wakes nothing, as
// requests ask for it.
func word(b *Bucket, p Peer) (v view) {
	if b.rest == "" || b.more != nil {
		if known := b.more.viewOf(p); known != nil {
			return *known
		}
		return view{}
	}
	r := reader(b.rest)
	if r.bytes(1)[0]&restAhead != 0 {
		r.bytes(5)
	}
	for n := r.bytes(1)[0] & 15; n > 0; n-- {
		if v = r.view(max(b.at, b.seen)); v.peer == p {
			return v
		}
	}
	return view{}
}

// appendTime appends a time that is mostly a multiple of unit.
func appendTime(out []byte, at, unit int64) []byte {
	q, r := at/unit, at%unit
	if r == 0 {
		return binary.AppendVarint(out, q<<1)
	}
	return binary.AppendVarint(binary.AppendVarint(out, q<<1|1), r)
}

// reader reads what pack wrote.
type reader string

func (r *reader) bytes(n int) string {
	p := string((*r)[:n])
	*r = (*r)[n:]
	return p
}

func (r *reader) uvarint() (v uint64) {
	for shift := 0; ; shift += 7 {
		c := r.bytes(1)[0]
		if v |= uint64(c&0x7f) << shift; c < 0x80 {
			return v
		}
	}
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) time(unit int64) int64 {
	q := r.varint()
	at := q >> 1 * unit
	if q&1 != 0 {
		at += r.varint()
	}
	return at
}

// little is the number in the bytes of p, the least one first.
func little(p string) (v uint64) {
	for i := len(p) - 1; i >= 0; i-- {
		v = v<<8 | uint64(p[i])
	}
	return v
}
