package proxy

import (
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// watch starts the timer of x, for its idle time, total time and age.
func (x *exchange) watch() {
	t := x.lane.route.timeouts
	first := min(x.proxy.streams.longAfter, t.Idle)
	if t.Total > 0 {
		first = min(first, t.Total)
	}
	x.mu.Lock()
	x.watched = true
	x.tickAfterLocked(time.Since(x.start), first)
	x.mu.Unlock()
}

// tickAfterLocked has tick run in d, or before. age is that of x. A timer that is set
// already and ends by then stays as it is: most requests are over before it ends, and the
// next one uses it again.
func (x *exchange) tickAfterLocked(age, d time.Duration) {
	due := x.start.Add(age + d)
	switch {
	case x.timer == nil:
		x.timer = time.AfterFunc(d, x.tick)
	case x.due.IsZero() || x.due.After(due):
		x.timer.Reset(d)
	default:
		return
	}
	x.due = due
}

func (x *exchange) tick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.due = (time.Time{}); x.ended || !x.watched {
		return // no request is under way
	}
	if x.killed {
		// The handler has had time for its answer.
		x.down.SetWriteDeadline(past)
		return
	}
	t := x.lane.route.timeouts
	age := time.Since(x.start)
	// Waiting for the response's head has a bound of its own, in the transport.
	waiting := !x.head.Load() && (x.body == nil || x.body.over())
	quiet := age - time.Duration(x.last.Load())
	switch {
	case t.Total > 0 && age >= t.Total:
		x.killLocked(timedOut("total", t.Total))
		return
	case !waiting && quiet >= t.Idle:
		if x.body != nil && x.body.reading.Load() && !x.head.Load() {
			x.killLocked(fault.Newf(fault.InvalidRequest, "The request's body did not arrive in time."))
		} else {
			x.killLocked(timedOut("idle", t.Idle))
		}
		return
	}
	next := t.Idle
	if !waiting {
		next -= quiet
	}
	if t.Total > 0 {
		next = min(next, t.Total-age)
	}
	switch {
	case x.long:
	case age < x.proxy.streams.longAfter:
		next = min(next, x.proxy.streams.longAfter-age)
	default:
		x.long = true
		if why := x.proxy.streams.add(x); why != nil {
			x.killLocked(why)
			return
		}
	}
	x.tickAfterLocked(age, next)
}

// kill ends x at once, and reports whether it went on until then. If no response has
// begun, the answer is why.
func (x *exchange) kill(why *fault.Error) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended || x.killed {
		return false
	}
	x.killLocked(why)
	return true
}

func (x *exchange) killLocked(why *fault.Error) {
	if x.ended || x.killed {
		return
	}
	x.killed = true
	// Read before the handler is woken, since then it may begin to answer.
	begun := x.status.Load() != 0
	x.life.end(why)
	if x.conn != nil {
		x.conn.Close()
		return
	}
	// Canceling stops the upstream's side. Reads from and writes to a client
	// that is stalled are ended by a deadline in the past.
	if x.body != nil && !x.body.over() {
		x.down.SetReadDeadline(past)
	}
	if begun {
		x.down.SetWriteDeadline(past)
	} else {
		x.due = time.Time{} // later than before
		x.tickAfterLocked(time.Since(x.start), fault.LingerTime)
	}
}

// readUntil sets the deadline of reads from the client, none if t is zero, unless a
// deadline in the past is to end them.
func (f *fate) readUntil(down downstream, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.killed {
		down.SetReadDeadline(t)
	}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// stopTimer drops the timer of an exchange that is not used again.
func (f *fate) stopTimer() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
	}
}

// finish ends the watch. After it, no other goroutine uses the response.
func (x *exchange) finish() {
	x.mu.Lock()
	x.ended = true
	long := x.long
	x.mu.Unlock()
	if long {
		x.proxy.streams.remove(x)
	}
}
