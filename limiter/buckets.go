package limiter

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"sync"
)

// Name is a bucket's key in [Buckets]: fixed in size, so that memory is bounded
// for identifiers of any length, and a digest, so that no identifier is kept.
type Name [16]byte

// NameOf is the name of a list of strings: SHA-256 over the length and bytes of
// each, cut to 128 bits. Two lists have one name only by a collision. It does not
// allocate while the list is shorter than 448 bytes in all.
func NameOf(parts ...string) Name {
	var space [512]byte
	b := space[:0]
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	return Name(sum[:16])
}

// Pace is a limit given with the call: Limit units in each Window, Burst at
// once (0: Limit; at most MaxBurst).
type Pace struct {
	Limit, Burst int64
	Window       int64 // nanoseconds, 1 … MaxWindow
}

// MaxWindow is the longest window of a [Pace].
const MaxWindow = 366 * 24 * 3600 * 1_000_000_000

// longestRefill bounds the time in which an empty bucket refills, in nanoseconds:
// 146 years. Times up to twice that are exact in 64 bits.
const longestRefill = 1 << 62

// LongestBurst is the largest burst that limit units in each window refill within
// 2^62 ns. A larger one is never full, and has no time at which it is.
func (p Pace) LongestBurst() int64 {
	hi, lo := bits.Mul64(uint64(p.Limit), longestRefill)
	if hi >= uint64(p.Window) {
		return MaxBurst
	}
	q, _ := bits.Div64(hi, lo, uint64(p.Window))
	return int64(min(q, MaxBurst))
}

// Verdict answers for one bucket.
type Verdict struct {
	Allowed bool
	// Full says that the table has no room for one more bucket that is not whole.
	// Nothing is evicted for it: that would hand out a burst again. RetryAfter is
	// then a second, as a first guess.
	Full       bool
	Never      bool // units are more than the bucket ever holds, or the pace is not one
	Remaining  int64
	RetryAfter int64 // whole seconds, ≥ 1; 0 when allowed
	Reset      int64 // nanoseconds until the bucket is whole
}

// Buckets is a bounded table of buckets that take their limits from each call:
// for identifiers of POST /v1/ratelimit and for callers of the management API.
//
// Whole buckets are dropped, which loses nothing: each insertion looks at a
// few entries behind a moving hand, and Prune at all. When every place is taken
// by a bucket that is not whole, an owner with less than its share gets the place of
// one of those that have most (see tenant), and all other newcomers are
// refused (Verdict.Full). An entry takes about 88 bytes with its place in the index: a
// million 88 MB, 65,536 some 6 MB; a table never shrinks. An owner takes some 80 in each shard.
type Buckets struct {
	shards [shards]shard
}

const (
	shards   = 64
	sweep    = 4  // entries looked at by an insertion
	sweepMax = 64 // and when its shard is full
)

type shard struct {
	mu      sync.Mutex
	now     int64
	max     int
	hand    int
	index   map[Name]int32
	entries []entry

	forgetful bool              // see NewForgetful
	tenants   map[Owner]*tenant // at most one for each account
}

type entry struct {
	name   Name
	owner  Owner
	used   level
	at     int64 // nanoseconds; whole ticks have been drained up to here
	limit  int64 // of the last call
	window int64
}

// NewBuckets returns a table for at most limit buckets, rounded up to 64.
func NewBuckets(limit int) *Buckets {
	b := new(Buckets)
	for i := range b.shards {
		b.shards[i].max = (limit + shards - 1) / shards
		b.shards[i].index, b.shards[i].tenants = make(map[Name]int32), make(map[Owner]*tenant)
	}
	return b
}

// Take charges units to the bucket, if they fit. A bucket that is not in the
// table begins as one that was empty refilled nanoseconds ago: [Forever] is
// full, 0 empty.
func (b *Buckets) Take(name Name, p Pace, units, now, refilled int64) Verdict {
	return b.shard(name).take(name, 0, p, units, now, refilled, true)
}

// TakeOf is Take for a bucket of o's.
func (b *Buckets) TakeOf(o Owner, name Name, p Pace, units, now, refilled int64) Verdict {
	return b.shard(name).take(name, o, p, units, now, refilled, true)
}

// Peek answers as Take would, and charges nothing.
func (b *Buckets) Peek(name Name, p Pace, units, now, refilled int64) Verdict {
	return b.shard(name).take(name, 0, p, units, now, refilled, false)
}

// Prune drops every bucket that is whole at now. It holds one shard at a time.
func (b *Buckets) Prune(now int64) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		s.now = max(s.now, now)
		for j := len(s.entries) - 1; j >= 0; j-- {
			if s.entries[j].whole(s.now) {
				s.drop(j)
			}
		}
		for o, t := range s.tenants {
			s.forget(o, t)
		}
		s.mu.Unlock()
	}
}

// Len is the number of buckets in the table.
func (b *Buckets) Len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

// shard mixes the name: one that is no digest may share its beginning with others.
func (b *Buckets) shard(name Name) *shard {
	h := binary.LittleEndian.Uint64(name[:8]) ^ binary.LittleEndian.Uint64(name[8:])
	h *= 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return &b.shards[h>>58]
}

// measure gives a window its tick and a unit its weight in ticks. The tick
// grows with the window so that a full bucket's level stays within 64 bits; a
// window that is not whole in ticks is rounded up, by less than one part in
// 60,000,000, which is the safe side.
func measure(window int64) (tick int64, weight uint64) {
	for tick = 1; window/tick > minute; tick *= 10 {
	}
	return tick, ceil(uint64(window), uint64(tick))
}

func (s *shard) take(name Name, o Owner, p Pace, units, now, refilled int64, spend bool) Verdict {
	burst := p.Burst
	if burst <= 0 {
		burst = p.Limit
	}
	burst, units = min(burst, MaxBurst), max(units, 0)
	if p.Limit <= 0 || p.Window <= 0 || p.Window > MaxWindow {
		return Verdict{Never: true, RetryAfter: 1}
	}
	tick, weight := measure(p.Window)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = max(s.now, now)
	i, found := s.index[name]
	var e entry
	if found {
		e = s.entries[i]
		e.adopt(p, s.now)
	} else {
		e = entry{name: name, owner: o, at: s.now, limit: p.Limit, window: p.Window}
		e.used = begun(burst, weight, uint64(max(s.lost(o, refilled), 0)/tick), uint64(p.Limit))
	}

	v := Verdict{Never: units > burst}
	over := uint64(0)
	if !v.Never && units > 0 {
		over = e.used.over(burst, units, weight)
	}
	v.Allowed = !v.Never && over == 0
	if v.Allowed && spend {
		e.used += level(units) * level(weight)
	}
	v.Remaining = e.used.left(burst, weight)
	since := s.now - e.at // part of a tick
	v.Reset = e.until(uint64(e.used), tick, since)
	switch {
	case v.Never:
		v.RetryAfter = seconds(v.Reset)
	case !v.Allowed:
		v.RetryAfter = seconds(e.until(over, tick, since))
	}
	if !spend {
		return v
	}
	switch {
	case found:
		s.entries[i] = e
	case v.Allowed && units > 0 && !s.insert(e):
		return Verdict{Full: true, RetryAfter: 1}
	}
	return v
}

// insert adds e, if a place is free or can be freed by dropping whole buckets.
func (s *shard) insert(e entry) bool {
	looks := sweep
	if len(s.entries) >= s.max {
		looks = sweepMax
	}
	for range min(looks, len(s.entries)) {
		if s.hand >= len(s.entries) {
			s.hand = 0
		}
		if len(s.entries) > 0 && s.entries[s.hand].whole(s.now) {
			s.drop(s.hand)
		} else {
			s.hand++
		}
	}
	if len(s.entries) >= s.max && !s.evict(e.owner) {
		return false
	}
	s.occupy(e.owner)
	s.index[e.name] = int32(len(s.entries))
	s.entries = append(s.entries, e)
	return true
}

// drop removes entry i by moving the last one into its place.
func (s *shard) drop(i int) {
	last := len(s.entries) - 1
	s.vacate(s.entries[i].owner)
	delete(s.index, s.entries[i].name)
	if i != last {
		s.entries[i] = s.entries[last]
		s.index[s.entries[i].name] = int32(i)
	}
	s.entries = s.entries[:last]
}

// adopt drains e up to now and gives it pace p. If the pace has changed since
// the last call, the slower of both counts for the time between, and the rest of
// a tick is dropped: it must not drain later at the faster pace.
func (e *entry) adopt(p Pace, now int64) {
	if p.Window == e.window {
		e.drain(now, min(e.limit, p.Limit))
		if e.limit != p.Limit {
			e.limit, e.at = p.Limit, now
		}
		return
	}
	old, was := *e, e.used
	old.drain(now, e.limit)
	_, from := measure(e.window)
	_, to := measure(p.Window)
	e.used = was.weighed(from, to)
	e.window, e.limit = p.Window, p.Limit
	e.drain(now, p.Limit)
	e.used, e.at = max(e.used, old.used.weighed(from, to)), now
}

// weighed converts a level between units of different weight, rounding up.
func (l level) weighed(from, to uint64) level {
	return level(mulDivCeil(uint64(l), to, from))
}

// drain brings e to now, in whole ticks. The rest of the last one counts towards
// the next, while anything is in use.
func (e *entry) drain(now, limit int64) {
	tick, _ := measure(e.window)
	n := (now - e.at) / tick
	e.used = e.used.drained(uint64(n), uint64(limit))
	if e.at += n * tick; e.used == 0 {
		e.at = now // the rest of a tick must not drain a charge that comes after it
	}
}

// until is how many nanoseconds it takes to drain l, since of which have passed.
func (e *entry) until(l uint64, tick, since int64) int64 {
	if l == 0 {
		return 0
	}
	hi, lo := bits.Mul64(ceil(l, uint64(e.limit)), uint64(tick))
	if hi != 0 {
		return Forever
	}
	return span(lo) - since
}

// whole works on a copy: a look must not change the bucket.
func (e entry) whole(now int64) bool {
	e.drain(now, e.limit)
	return e.used == 0
}
