package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells monotonic time that includes suspend, and wall time. Between a
// resume and the next Sync, Now is behind, never ahead: limits refill later, which
// is the safe side for them. Code for which a late reading is unsafe (a lease)
// calls Read, or Sync first. It is safe for concurrent use.
type Clock struct {
	base   time.Time    // set by New, with Go's monotonic reading
	boot   bool         // there is a clock that counts suspend
	offset atomic.Int64 // nanoseconds that CLOCK_BOOTTIME is ahead of base; only grows
	wall   atomic.Int64 // nanoseconds that the wall clock was ahead of Go's monotonic one at the last Sync
	wrong  atomic.Int64 // nanoseconds that the wall clock is ahead of the machine's; see SetWrong
}

// slip is how far the wall clock may move against Go's monotonic one until Read asks the
// boot clock whether the machine has slept: far less than a lease has to spare (ε), and so
// much that a clock which is slewed costs a system call in some seconds.
const slip = int64(5 * time.Millisecond)

// New returns a running clock.
func New() *Clock {
	c := &Clock{base: time.Now()}
	_, c.boot = boottime()
	c.Sync()
	return c
}

// Read returns the wall clock's time and, from the same reading, the monotonic
// nanoseconds. They include a suspend that has just ended: it moves the wall clock against
// Go's monotonic one, which stands still. It costs a system call only then, and when the
// wall clock was set.
func (c *Clock) Read() (time.Time, int64) {
	now := time.Now()
	ran := int64(now.Sub(c.base))
	if moved := now.UnixNano() - ran - c.wall.Load(); c.boot && (moved > slip || moved < -slip) {
		c.Sync()
		now = time.Now()
		ran = int64(now.Sub(c.base))
	}
	mono := ran + c.offset.Load()
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

// Jump is what tells a suspend of the machine where no clock counts it: how far the wall
// clock of a reading is ahead of the monotonic one. Where one does it is 0, since Read has
// counted the suspend, and a wall clock that is set means nothing.
func (c *Clock) Jump(wall time.Time, mono int64) int64 {
	if c.boot {
		return 0
	}
	return wall.UnixNano() - mono
}

// Now returns the monotonic nanoseconds.
func (c *Clock) Now() int64 { return int64(time.Since(c.base)) + c.offset.Load() }

// Sync adds the time that the machine has slept. The boot clock is read
// first, so a pause between the two readings makes the offset too small. The
// largest one ever seen is the best, and the clock is never ahead.
//
// The wall clock is read before and noted last. A suspend in between is noticed by the
// next Read, and no Read takes a suspend for noticed that the offset does not have yet.
func (c *Clock) Sync() {
	now := time.Now()
	if boot, ok := boottime(); ok {
		offset := boot - int64(time.Since(c.base))
		for old := c.offset.Load(); offset > old && !c.offset.CompareAndSwap(old, offset); old = c.offset.Load() {
		}
	}
	c.wall.Store(now.UnixNano() - int64(now.Sub(c.base)))
}
