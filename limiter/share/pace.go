package share

import "math/bits"

// Part is a fraction of a bucket, of [One].
type Part int64

// One is a whole bucket.
const One Part = 1 << partBits

const partBits = 32

// narrowPart is a part in 32 bits: the largest number is One, and what is nearly One is
// rounded down.
type narrowPart uint32

const narrowOne narrowPart = 1<<32 - 1

func narrow(x Part) narrowPart {
	if x >= One {
		return narrowOne
	}
	return narrowPart(min(x, One-2))
}

func (p narrowPart) wide() Part {
	if p == narrowOne {
		return One
	}
	return Part(p)
}

// Pace is the limit of a bucket: Burst units at most, and Rate levels in each Tick. A
// unit weighs Weight levels. Burst·Weight is below 2^63.
type Pace struct {
	Burst  int64
	Rate   int64
	Weight int64
	Tick   int64 // nanoseconds
}

// Minute is the pace of a limit of rate units a minute.
func Minute(rate, burst int64) Pace {
	return Pace{Burst: burst, Rate: rate, Weight: 60_000_000_000, Tick: 1}
}

// Valid reports whether p is a pace that can be counted. Paces of other nodes are looked
// at before they are used.
func (p Pace) Valid() bool {
	hi, lo := bits.Mul64(uint64(p.Burst), uint64(p.Weight))
	return p.Burst > 0 && p.Rate > 0 && p.Weight > 0 && p.Tick > 0 && hi == 0 && lo < 1<<63
}

// full is the level of a whole bucket.
func (p Pace) full() int64 { return p.Burst * p.Weight }

// cap is the level of a part, rounded down: those of several parts are never more than
// that of their sum.
func (p Pace) cap(x Part) int64 {
	hi, lo := bits.Mul64(uint64(p.full()), uint64(x))
	return int64(hi<<(64-partBits) | lo>>partBits)
}

// Level is the levels of a part of the bucket.
func (p Pace) Level(x Part) int64 { return p.cap(x) }

// Refill is what the whole bucket refills in a time in nanoseconds, rounded up.
func (p Pace) Refill(d int64) int64 {
	hi, lo := bits.Mul64(uint64(max(d, 0)/p.Tick+1), uint64(p.Rate))
	if hi != 0 {
		return p.full()
	}
	return int64(min(lo, uint64(p.full())))
}

// perSecond is the rate in units.
func (p Pace) perSecond() float64 {
	return float64(p.Rate) / float64(p.Weight) / float64(p.Tick) * 1e9
}

// slowdown takes 2^-11, 0.05 %, off every refill: the clocks of two nodes may differ
// that much in their rates.
const slowdown = 11

// gain is the refill of a part in a number of ticks, rounded down.
func (p Pace) gain(ticks int64, x Part) int64 {
	hi, lo := bits.Mul64(uint64(ticks), uint64(p.Rate))
	if hi != 0 {
		lo = 1<<64 - 1 // more than two whole buckets
	}
	hi, lo = bits.Mul64(lo, uint64(x))
	n := hi<<(64-partBits) | lo>>partBits
	n -= n >> slowdown
	return int64(min(n, 1<<62))
}

// wait is the time in which a part refills level, in nanoseconds rounded up.
func (p Pace) wait(level int64, x Part) int64 {
	if level <= 0 {
		return 0
	}
	if x <= 0 {
		return Forever
	}
	perTick := float64(p.Rate) * float64(x) / float64(One)
	ns := (float64(level)/perTick*(1+2.0/(1<<slowdown)) + 1) * float64(p.Tick) // 1/(1-ε) < 1+2ε
	if ns >= float64(Forever) {
		return Forever
	}
	return int64(ns)
}

// hold is how long a lender keeps its cap for tokens that no part covers, in nanoseconds.
// Holds that are long for the bucket would keep its cap empty: in this time a quarter of
// it refills at most.
func (p Pace) hold() int64 {
	return int64(min(max(float64(p.Burst)/p.perSecond()*1e9/4, float64(holdLeast)), float64(holdMost)))
}

// Whole is the time in which a bucket with tok levels is full, in nanoseconds.
func (p Pace) Whole(tok int64) int64 { return p.wait(p.full()-tok, One) }

// Forever is the wait for tokens that do not come.
const Forever int64 = 1<<63 - 1
