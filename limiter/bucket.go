package limiter

import "math/bits"

// level is consumption: the charges that have not drained yet. One unit of charge
// weighs as many levels as its window has ticks, and a bucket of limit L drains L
// levels a tick, so refilling is exact in integers at any rate: there is no
// rounded "nanoseconds per request", and draining in steps equals draining at
// once.
//
// Consumption rather than a theoretical arrival time is stored because limits
// change: a level means the same under every limit, so a new one applies at once,
// and no change of it can turn time that has passed into tokens. With the level
// at most the burst at every admission and never below zero, at most burst +
// rate·t is admitted in any time t.
type level uint64

// minute is the weight of a unit in a per-minute bucket, which has ticks of 1 ns.
const minute = 60_000_000_000

// drained returns the rest of l after ticks at rate levels each.
func (l level) drained(ticks, rate uint64) level {
	hi, lo := bits.Mul64(ticks, rate)
	if hi != 0 || lo >= uint64(l) {
		return 0
	}
	return l - level(lo)
}

// begun returns the level of a bucket that was empty ticks ago and has been
// refilling since: its capacity, drained.
func begun(burst int64, weight, ticks, rate uint64) level {
	return level(uint64(burst)*weight).drained(ticks, rate)
}

// left is how many whole units fit between l and the burst.
func (l level) left(burst int64, weight uint64) int64 {
	full := uint64(burst) * weight
	if uint64(l) >= full {
		return 0
	}
	return int64((full - uint64(l)) / weight)
}

// over is how much of l has to drain before units fit; units ≤ burst ≤ MaxBurst.
func (l level) over(burst, units int64, weight uint64) uint64 {
	want, full := uint64(l)+uint64(units)*weight, uint64(burst)*weight
	if want <= full {
		return 0
	}
	return want - full
}

// ceil is a/b rounded up.
func ceil(a, b uint64) uint64 {
	q := a / b
	if q*b != a {
		q++
	}
	return q
}

// span makes a count of nanoseconds an int64, holding at its end.
func span(ns uint64) int64 { return int64(min(ns, Forever)) }

// seconds rounds nanoseconds up to whole seconds, at least one.
func seconds(ns int64) int64 {
	return max(int64(ceil(uint64(max(ns, 1)), 1e9)), 1)
}

// bucket is one policy's minute.
type bucket struct {
	used level
	at   int64 // when used was true
	rate int64 // units per minute seen last, which is levels per nanosecond; 0: not begun
}

// drain brings b to now. Between the last touch and now the rate may have changed
// at an unknown time; the slower of the two never gives too much.
func (b *bucket) drain(now, rate int64) {
	b.used = b.used.drained(uint64(now-b.at), uint64(min(b.rate, rate)))
	b.at, b.rate = now, rate
}

// whole reports whether b has drained entirely by now.
func (b *bucket) whole(now int64) bool {
	return b.used.drained(uint64(max(now-b.at, 0)), uint64(b.rate)) == 0
}

// mulDivCeil is a·b/c rounded up; the result must fit.
func mulDivCeil(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	q, r := bits.Div64(hi, lo, c)
	if r != 0 {
		q++
	}
	return q
}
