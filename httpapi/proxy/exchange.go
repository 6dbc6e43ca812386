package proxy

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// exchange is one request on its way through the proxy, and what is known of it.
type exchange struct {
	proxy *Proxy
	live  *live // the settings that this request began with
	w     *writer
	r     *http.Request // as it came in
	id    string
	start time.Time

	client  netip.Addr
	lane    *lane // nil until a route is found
	pass    admit.Pass
	decided time.Time // when its charges were
	charged bool
	maxCost store.Money // in force; 0 is none
	reserve store.Money // of the key's budget
	cost    store.Money // as it turned out

	body     *body       // what the client sends; nil if nothing
	buffered []byte      // the body, where it had to be read and may have been changed
	held     int64       // bytes of memory counted for it
	changed  bool        // buffered is not what the client sent
	trailer  http.Header // to send upstream after the body; filled by body

	rc     *http.ResponseController
	cancel context.CancelCauseFunc
	last   atomic.Int64 // of a byte, in nanoseconds since start
	head   atomic.Bool  // the upstream's response has begun
	refuse *fault.Error // what forwarding ended with, if no response began

	aborted bool // by a panic behind the response's beginning

	mu     sync.Mutex // guards what follows, and rc against use after the handler's end
	timer  *time.Timer
	long   bool
	ended  bool
	killed bool
	conn   net.Conn // of a tunnel
}

// touch notes that a byte has moved.
func (x *exchange) touch() { x.last.Store(int64(time.Since(x.start))) }

// watch starts the clock of x: idle and total time, and age.
func (x *exchange) watch() {
	t := x.lane.route.timeouts
	first := min(x.proxy.streams.longAfter, t.Idle)
	if t.Total > 0 {
		first = min(first, t.Total)
	}
	x.mu.Lock()
	x.timer = time.AfterFunc(first, x.tick)
	x.mu.Unlock()
}

func (x *exchange) tick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	if x.killed {
		// Whatever the handler had to say, it has had time for it.
		x.rc.SetWriteDeadline(past)
		return
	}
	t := x.lane.route.timeouts
	age := time.Since(x.start)
	// Waiting for the response's head has a bound of its own, in the transport.
	waiting := !x.head.Load() && (x.body == nil || x.body.over())
	quiet := age - time.Duration(x.last.Load())
	switch {
	case t.Total > 0 && age >= t.Total:
		x.killLocked(fault.New(fault.UpstreamTimeout))
		return
	case !waiting && quiet >= t.Idle:
		if x.body != nil && x.body.reading.Load() && !x.head.Load() {
			x.killLocked(fault.Newf(fault.InvalidRequest, "The request's body did not arrive in time."))
		} else {
			x.killLocked(fault.New(fault.UpstreamTimeout))
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

// kill ends x at once. If no response has begun, why is the answer.
func (x *exchange) kill(why *fault.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.killLocked(why)
}

func (x *exchange) killLocked(why *fault.Error) {
	if x.ended || x.killed {
		return
	}
	x.killed = true
	// To be known before the handler hears of it, for then it may begin to answer.
	begun := x.w.status.Load() != 0
	x.cancel(why)
	if x.conn != nil {
		x.conn.Close()
		return
	}
	// Canceling stops the upstream's side. Reads from and writes to a client
	// that stands still are ended by a deadline in the past.
	if x.body != nil && !x.body.over() {
		x.rc.SetReadDeadline(past)
	}
	if begun {
		x.rc.SetWriteDeadline(past)
	} else {
		x.timer.Reset(fault.LingerTime)
	}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// finish stops the clock. After it nothing touches the response any more.
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

// linger bounds how long a client may go on sending a body that nobody wants.
func (x *exchange) linger() {
	if x.r.ProtoMajor != 1 || x.r.ContentLength == 0 || x.conn != nil || x.body != nil && x.body.over() {
		return
	}
	x.rc.SetReadDeadline(time.Now().Add(fault.LingerTime))
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }
