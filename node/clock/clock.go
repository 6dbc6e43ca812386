package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells monotonic time that includes suspend, and wall time. Between a
// resume and the next Sync it is behind, never ahead: limits refill later, which
// is the safe side for them. Code for which a late reading is unsafe (a lease)
// calls Sync first. It is safe for concurrent use.
type Clock struct {
	base   time.Time    // set by New, with Go's monotonic reading
	offset atomic.Int64 // nanoseconds that CLOCK_BOOTTIME is ahead of base; only grows
	wrong  atomic.Int64 // nanoseconds that the wall clock is ahead of the machine's; see SetWrong
}

// New returns a running clock.
func New() *Clock {
	c := &Clock{base: time.Now()}
	c.Sync()
	return c
}

// Read returns the wall clock's time and, from the same reading, the monotonic
// nanoseconds.
func (c *Clock) Read() (time.Time, int64) {
	now := time.Now()
	mono := int64(now.Sub(c.base)) + c.offset.Load()
	if wrong := c.wrong.Load(); wrong != 0 {
		now = now.Round(0).Add(time.Duration(wrong)) // without Go's monotonic reading
	}
	return now, mono
}

// Wall returns the wall clock's time.
func (c *Clock) Wall() time.Time {
	wall, _ := c.Read()
	return wall
}

// SetWrong puts the wall clock ahead of the machine's, or behind, as if somebody had
// set it. It is for tests.
func (c *Clock) SetWrong(ahead time.Duration) { c.wrong.Store(int64(ahead)) }

// Now returns the monotonic nanoseconds.
func (c *Clock) Now() int64 { return int64(time.Since(c.base)) + c.offset.Load() }

// Sync adds the time that the machine has slept. The boot clock is read
// first, so a pause between the two readings makes the offset too small. The
// largest one ever seen is the best, and the clock is never ahead.
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
