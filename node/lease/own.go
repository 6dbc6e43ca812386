package lease

import (
	"sync/atomic"
	"time"
)

// Lease is a node's own lease. It lives in memory only and never travels: a new
// process begins with none, and no other clock has a say in it. The zero value
// is no lease. It is safe for concurrent use; Valid takes no lock.
type Lease struct {
	cur atomic.Pointer[span]
}

type span struct {
	until  int64
	offset int64 // wall clock minus monotonic one when the request was sent
}

// maxJump is how far the wall clock may run ahead of the monotonic one in the
// time of a lease: more means that the monotonic one stood still for a while
// (a suspended machine), and that the lease is older than it looks.
const maxJump = int64(time.Second)

// Granted notes the answer to a renewal that this process sent at sent, when the
// clocks differed by wallMinusMono. Both are of that very request: counted from
// the answer's arrival, or from a later request, the lease would outlive what
// the leader waits for. An answer to a request of another process is not for
// this one. Answers may come late, twice and out of order.
func (l *Lease) Granted(sent int64, wallMinusMono int64, d time.Duration) {
	s := &span{until: sent + int64(d), offset: wallMinusMono}
	for {
		old := l.cur.Load()
		if old != nil && old.until >= s.until {
			return
		}
		if l.cur.CompareAndSwap(old, s) {
			return
		}
	}
}

// Valid says whether this node may serve at now.
func (l *Lease) Valid(now, wallMinusMono int64) bool {
	s := l.cur.Load()
	return s != nil && now < s.until && wallMinusMono-s.offset <= maxJump
}

// Left is how long the lease still lasts by the monotonic clock; 0 if it is over.
func (l *Lease) Left(now int64) time.Duration {
	if s := l.cur.Load(); s != nil {
		return time.Duration(max(s.until-now, 0))
	}
	return 0
}

// Revoke forgets the lease at once. An answer that arrives later brings a new one.
func (l *Lease) Revoke() { l.cur.Store(nil) }
