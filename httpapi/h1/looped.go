package h1

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// looped is the part of a connection that loops deal with.
type looped struct {
	lc      *loop.Conn // nil: loops cannot have the connection
	task    *loop.Task // that serves a request; nil: a goroutine does
	answers int        // since the connection has left a loop
	from    int        // answers, after which a loop gets it
}

const firstLanding, lastLanding = 1, 1 << 20

// onLoop reports whether a loop serves the connection now.
func (l *looped) onLoop() bool { return l.task != nil && !l.task.Left() }

// isSmall reports whether a loop can serve q, whose head has been read: nothing else of it has
// to be waited for, and it keeps the connection what it is.
func (c *conn) isSmall(q *Request) bool {
	return !q.expect && q.Length >= 0 && q.Length <= int64(c.br.Buffered()) && !q.Fields.Has("Upgrade")
}

// land gives the connection, which waits for its next request, to a loop, and reports whether
// it did.
func (c *conn) land() bool {
	g := c.server.Loops
	if g == nil || c.raw == nil || c.answers < c.from {
		return false
	}
	if c.lc == nil {
		w, ok := c.nc.(interface{ LoopConn() *loop.Conn })
		if !ok {
			return false
		}
		if c.lc = w.LoopConn(); c.lc == nil {
			return false
		}
	}
	c.state.Store(idle)
	if c.br != nil && c.br.Buffered() > 0 || c.in.holds() || c.server.closing.Load() {
		return false
	}
	if c.br != nil {
		c.unbuffer()
	}
	c.in.dropTimer()
	c.in.setDeadline(time.Time{})
	c.answers = 0
	return g.Pick().Land(c.lc, c.server.IdleTimeout, c.ready) == nil
}

// ready serves the requests that have come while a loop has had the connection. It reports
// whether the loop goes on to have it.
func (c *conn) ready(t *loop.Task) bool {
	if c.lc.Closed() {
		c.end()
		return false
	}
	in := inputs.Get().(*input)
	room := in.room()
	n, err := c.raw.readNow(room)
	in.took(n)
	if err != nil {
		in.release()
		if errors.Is(err, errNothingYet) {
			t.Drained()
			return true
		}
		c.end()
		return false
	}
	if n == len(room) {
		t.More()
	}
	c.bufferWith(in)
	c.task = t
	t.OnLeave(c.left)
	for c.state.CompareAndSwap(idle, busy) {
		if !c.headIsThere() {
			t.Leave()
			c.in.setDeadline(after(c.server.HeadTimeout))
		}
		keep := c.request()
		c.served = true
		if t.Left() {
			c.task = nil
			if !keep || !c.serveRequests() {
				c.end()
			}
			return false
		}
		if !keep {
			break
		}
		c.state.Store(idle)
		if c.server.closing.Load() {
			break
		}
		if c.br.Buffered() == 0 {
			c.unbuffer()
			c.task = nil
			return true
		}
	}
	c.task = nil
	c.end()
	return false
}

// left goes on after the task has left its loop.
func (c *conn) left() {
	c.in.setDeadline(time.Time{}) // the last one may be of an earlier request
	c.from = max(firstLanding, min(2*c.from, lastLanding))
	if w := c.current.Load(); w != nil && (w.body == nil || w.body.state.Load() == bodyWhole) {
		c.in.watch()
	}
}

// leaveLoop has the goroutine of a request go on alone: it is about to wait.
func (x *Call) leaveLoop() {
	if t := x.task(); t != nil {
		t.Leave()
	}
}

// task is that of the request; nil if none serves it.
func (x *Call) task() *loop.Task {
	if x.Client == nil || !x.Client.w.c.onLoop() {
		return nil
	}
	return x.Client.w.c.task
}

// place is where a pool keeps a connection.
type place struct {
	Target
	loop *loop.Loop // nil: any goroutine may use it
}

func (c *persistConn) loopConn() *loop.Conn {
	lc, _ := c.socket.Conn.(*loop.Conn)
	return lc
}

func (c *persistConn) place() place {
	if lc := c.loopConn(); lc != nil {
		return place{c.key, lc.Loop()}
	}
	return place{c.key, nil}
}

func (c *persistConn) unuse() {
	if lc := c.loopConn(); lc != nil {
		lc.Unuse()
	}
}

// mayLoop reports whether loops can have the connection, after making it one of those.
func (c *persistConn) mayLoop() bool {
	if c.loopConn() != nil {
		return true
	}
	tcp, ok := c.socket.Conn.(*net.TCPConn)
	if !ok || !c.mayTurn() {
		return false
	}
	lc, err := loop.NewConn(tcp)
	if err != nil {
		return false
	}
	s := newSocket(lc)
	s.written.Store(c.socket.written.Load())
	c.Conn, c.socket, c.due = s, s, time.Time{}
	return true
}

// takeFor returns an idle connection for x; nil if there is none.
func (p *pool) takeFor(x *Call) *persistConn {
	unchecked := x.up.mayTurn()
	t := x.task()
	if t == nil {
		return p.take(place{x.Target, nil}, unchecked)
	}
	c := p.take(place{x.Target, t.Loop()}, unchecked)
	if c == nil {
		c = p.take(place{x.Target, nil}, unchecked)
	}
	if c == nil || !c.mayLoop() || !t.Use(c.loopConn()) {
		t.Leave()
	}
	return c
}

type connKey struct{}

// WillWait is to be called by whoever is about to wait in a request of HTTP/1.1, whose context
// is ctx or derived from it: if a loop serves it, the others must not wait, too. Only the
// goroutine that serves the request may call it.
func WillWait(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*conn); ok && c.onLoop() {
		c.task.Leave()
	}
}

// landsEarly is land before the first request, in tests.
func (c *conn) landsEarly() bool { return c.server.Loops != nil && c.server.Loops.Early && c.land() }
