package lease

import (
	"sync/atomic"
	"time"
)

// Lease is a node's own lease. It is kept in memory and never sent: a new process
// starts without one, and only this machine's clock decides about it. The zero
// value is no lease. It is safe for concurrent use; Valid takes no lock.
type Lease struct {
	cur atomic.Pointer[span]
}

type span struct {
	until  int64
	offset int64 // wall clock minus monotonic one when the request was sent
}

// maxJump is how far the wall clock may run ahead of the monotonic one during a
// lease. More means that the monotonic clock stood still for a while (a suspended
// machine), and that the lease is older than it appears.
const maxJump = int64(time.Second)

// Granted records that the leader granted the renewal which this process sent at
// sent, when the clocks differed by wallMinusMono. Both must be those of that very
// request: counted from the arrival of the answer, or from a later request, the
// lease would outlive the leader's wait. An answer to a request of another process
// must not be recorded. Answers may arrive late, twice and out of order.
func (l *Lease) Granted(sent int64, wallMinusMono int64, d time.Duration) {
	s := &span{until: sent + int64(d), offset: wallMinusMono}
	for {
		old := l.cur.Load()
		if old == over || old != nil && old.until >= s.until {
			return
		}
		if l.cur.CompareAndSwap(old, s) {
			return
		}
	}
}

// Valid reports whether this node may serve at now.
func (l *Lease) Valid(now, wallMinusMono int64) bool {
	s := l.cur.Load()
	return s != nil && now < s.until && wallMinusMono-s.offset <= maxJump
}

// Left returns the rest of the lease by the monotonic clock; 0 if it has ended.
func (l *Lease) Left(now int64) time.Duration {
	if s := l.cur.Load(); s != nil {
		return time.Duration(max(s.until-now, 0))
	}
	return 0
}

// End ends the lease at once and for good: an answer that arrives later, or is being
// recorded at this moment, starts no new one. A node that has told its leader that it
// serves no more calls it before.
func (l *Lease) End() { l.cur.Store(over) }

// over is no lease, and is never replaced by one.
var over = new(span)
