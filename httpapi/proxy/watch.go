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
	if x.watched = true; x.timer == nil {
		x.timer = time.AfterFunc(first, x.tick)
	} else {
		x.timer.Reset(first)
	}
	x.mu.Unlock()
}

func (x *exchange) tick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended || !x.watched {
		return // of a request that is over, or of another one
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
	x.timer.Reset(next)
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
		x.timer.Reset(fault.LingerTime)
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

// finish stops the timer. After it, no other goroutine uses the response.
func (x *exchange) finish() {
	x.mu.Lock()
	x.ended = true
	long := x.long
	if x.timer != nil {
		x.timer.Stop()
	}
	x.mu.Unlock()
	if long {
		x.proxy.streams.remove(x)
	}
}
