package node

import (
	"sync/atomic"
	"time"
)

// Clock reads the time that limits and leases run by: nanoseconds that go on
// while the machine sleeps (CLOCK_BOOTTIME), never backwards, beside the wall
// clock.
//
// Go's monotonic clock costs no system call but stands still in suspend, so the
// clock is that one plus an offset, which Sync brings up to date. Between a
// resume and the next Sync it is behind, never ahead: limits refill later, which
// is the safe side for them. What must not be late (a lease) calls Sync first.
type Clock struct {
	base   time.Time
	offset atomic.Int64
}

// NewClock returns a running clock.
func NewClock() *Clock {
	c := &Clock{base: time.Now()}
	c.Sync()
	return c
}

// Read returns the wall clock's time and, from the same reading, the monotonic
// nanoseconds.
func (c *Clock) Read() (time.Time, int64) {
	now := time.Now()
	return now, int64(now.Sub(c.base)) + c.offset.Load()
}

// Now returns the monotonic nanoseconds.
func (c *Clock) Now() int64 { return int64(time.Since(c.base)) + c.offset.Load() }

// Sync takes over the time that the machine has slept. The boot clock is read
// first, so whatever happens between the two readings makes the offset too
// small, and the largest one ever seen is the best: the clock is never ahead.
func (c *Clock) Sync() {
	boot, ok := boottime()
	if !ok {
		return
	}
	offset := boot - int64(time.Since(c.base))
	for old := c.offset.Load(); offset > old; old = c.offset.Load() {
		if c.offset.CompareAndSwap(old, offset) {
			return
		}
	}
}
