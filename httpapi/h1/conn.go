package h1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// bufferSize is the size of the buffers of a connection, one for each direction. It must
// hold the preface of HTTP/2.
const bufferSize = 4 << 10

var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, bufferSize) }}

// The states of a connection, for Shutdown.
const (
	idle   int32 = iota // no octet of a request has come; Shutdown may close it
	busy                // with a request, from its first octet on
	closed              // by Shutdown
)

// conn is an accepted connection. Its goroutine owns every field that has no other owner
// stated.
type conn struct {
	server *Server
	nc     net.Conn
	raw    *rawConn      // of nc; nil if it is TLS or wrapped
	br     *input        // over in; nil, as bw, while the connection is idle
	bw     *bufio.Writer // over out; guarded by response.mu until a final answer begins
	in     reader
	out    writer

	ctx   context.Context // of all requests
	leave func()          // ends ctx; nil before it is made
	rest
	looped
	tls     *tls.ConnectionState
	remote  string
	served  bool // a request
	gone    bool // nc has another owner now
	state   atomic.Int32
	current atomic.Pointer[response] // of the request in flight
}

// hook tells the server's owner about a state.
func (c *conn) hook(state http.ConnState) {
	if f := c.server.ConnState; f != nil {
		f(c.nc, state)
	}
}

// serve serves the connection from its beginning.
func (c *conn) serve() {
	goesOn := false
	defer func() {
		if !goesOn {
			c.end()
		}
	}()
	if !c.handshake() {
		return
	}
	if c.raw = newRawConn(c.nc); c.raw == nil {
		c.buffer()
	}
	c.remote = c.nc.RemoteAddr().String()
	c.ctx, c.leave = context.WithCancel(context.Background())
	if c.server.Loops != nil {
		c.ctx = context.WithValue(c.ctx, connKey{}, c)
	}
	if c.server.ConnContext != nil {
		c.ctx = c.server.ConnContext(c.ctx, c.nc)
	}
	if c.landsEarly() {
		goesOn = true
		return
	}
	goesOn = c.serveRequests()
}

// end closes the connection, unless it has another owner.
func (c *conn) end() {
	c.server.forget(c)
	if c.leave != nil {
		c.leave()
	}
	if c.br != nil {
		c.unbuffer()
	}
	if !c.gone {
		c.nc.Close()
		c.hook(http.StateClosed)
	}
}

// unbuffer takes the buffers back.
func (c *conn) unbuffer() {
	c.br.release()
	c.bw.Reset(nil)
	writers.Put(c.bw)
	c.br, c.bw = nil, nil
}

// buffer gives the connection its buffers.
func (c *conn) buffer() { c.bufferWith(inputs.Get().(*input)) }

func (c *conn) bufferWith(in *input) {
	c.br, c.bw = in, writers.Get().(*bufio.Writer)
	c.br.src = &c.in
	c.bw.Reset(&c.out)
}

// handshake makes the connection one of TLS, if it is to be. It reports whether it
// speaks HTTP/1.
func (c *conn) handshake() bool {
	tc, ok := c.nc.(*tls.Conn)
	if !ok {
		return true
	}
	c.nc.SetDeadline(after(c.server.HeadTimeout))
	if err := tc.HandshakeContext(context.Background()); err != nil {
		c.server.logger().Debug("TLS handshake failed", "addr", c.nc.RemoteAddr(), "error", err)
		c.refusePlaintext(err)
		return false
	}
	c.nc.SetDeadline(time.Time{})
	state := tc.ConnectionState()
	if c.tls = &state; state.NegotiatedProtocol != "h2" {
		return true
	}
	c.handOver(c.nc)
	return false
}

// refusePlaintext tells a client that speaks HTTP to a port of TLS so.
func (c *conn) refusePlaintext(err error) {
	var r tls.RecordHeaderError
	if !errors.As(err, &r) || r.Conn == nil || !looksLikeHTTP(r.RecordHeader[:]) {
		return
	}
	c.nc = r.Conn
	c.buffer()
	c.nc.SetDeadline(after(c.server.HeadTimeout))
	c.ctx = context.Background()
	q := new(Request)
	q.reset(c)
	c.refuse(q, errPlaintext)
}

func looksLikeHTTP(p []byte) bool {
	for _, method := range [...]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET"} {
		if string(p) == method {
			return true
		}
	}
	return false
}

// next serves a request and reports whether another may follow.
func (c *conn) next() bool {
	c.state.Store(idle)
	if c.server.closing.Load() {
		return false
	}
	if c.served {
		c.setIdle()
	} else {
		c.in.setDeadline(after(c.server.HeadTimeout))
	}
	if !c.begun() || !c.state.CompareAndSwap(idle, busy) {
		return false
	}
	if c.served && !c.headIsThere() {
		c.in.setDeadline(after(c.server.HeadTimeout))
	}
	return c.request()
}

// request reads the head of a request, serves it, and reports whether another may follow.
func (c *conn) request() bool {
	if !c.served && c.tls == nil && c.server.HTTP2 != nil && c.speaksHTTP2() {
		c.in.setDeadline(time.Time{})
		c.handOver(&earlyConn{c.nc, bytes.Clone(c.br.buffered())})
		return false
	}
	it := items.Get().(*item)
	q := &it.req
	q.reset(c)
	if err := c.readRequest(q); err != nil {
		if e := new(Error); errors.As(err, &e) {
			c.refuse(q, e)
		}
		return false
	}
	if c.server.Lane != nil {
		if serve := c.server.Lane(q); serve != nil {
			if c.onLoop() && !c.isSmall(q) {
				c.task.Leave()
			}
			return c.answerLane(it, serve)
		}
	}
	if c.onLoop() {
		c.task.Leave()
	}
	return c.answerHandler(q)
}

// begun waits for the first octet of a request, without buffers if they can be done
// without, and reports whether it has come.
func (c *conn) begun() bool {
	if (c.raw != nil || c.rested) && c.br != nil && c.br.Buffered() == 0 && !c.in.holds() {
		c.unbuffer()
	}
	err := c.await()
	if err == nil {
		_, err = c.br.Peek(1)
	}
	if err == nil {
		c.rested = false
		return true
	}
	c.tired = isTimeout(err) && c.mayRest()
	return false
}

// await waits for an octet if there are no buffers, and makes them.
func (c *conn) await() error {
	switch {
	case c.br != nil:
	case c.woken != nil:
		c.bufferWith(c.woken)
		c.woken = nil
	case c.raw != nil:
		in, err := c.raw.await()
		if err != nil {
			return err
		}
		c.bufferWith(in)
	default:
		if err := c.in.await(); err != nil {
			return err
		}
		c.buffer()
	}
	return nil
}

// headIsThere reports whether a whole head has been read already, which is the rule.
func (c *conn) headIsThere() bool {
	p := c.br.buffered()
	return p[0] != '\r' && bytes.Contains(p, []byte("\r\n\r\n"))
}

// readRequest reads a head into q. An error that is no [*Error] needs no answer.
func (c *conn) readRequest(q *Request) error {
	s := requestScanner()
	text, err := readHead(c.br, &s)
	if err == nil {
		return q.parse(text)
	}
	q.parsePart(text)
	switch {
	case !s.begun():
	case isTimeout(err):
		err = errSlowHead
	case err == io.ErrUnexpectedEOF:
		err = errHalfHead
	}
	return err
}

var blank http.Request

// newRequest is q for a [http.Handler].
func (c *conn) newRequest(ctx context.Context, q *Request) *http.Request {
	r := blank.WithContext(ctx)
	q.fill(r)
	r.TLS = c.tls
	return r
}

// refuse answers a malformed request and ends the connection.
func (c *conn) refuse(q *Request, e *Error) {
	c.server.fault(e)
	q.close, q.expect, q.Length = true, false, 0
	w := newResponse(c, q, c.newRequest(c.ctx, q), func() {})
	if c.run(w, func() { c.server.refuse(w, w.r, e) }) && w.finish() {
		c.linger()
	}
}

// answerHandler has the handler answer q, and reports whether another request may follow.
func (c *conn) answerHandler(q *Request) bool {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	w := newResponse(c, q, c.newRequest(ctx, q), cancel)
	c.begin(w)
	return c.complete(w, c.run(w, func() { c.server.Handler.ServeHTTP(w, w.r) }))
}

// begin starts the answer to a request that has been read.
func (c *conn) begin(w *response) {
	c.hook(http.StateActive)
	c.current.Store(w)
	if w.body == nil {
		c.in.watch()
	} else {
		c.in.setDeadline(time.Time{})
	}
}

// complete ends an answer whose handler has returned, and reports whether another request
// may follow. ok is what run has returned.
func (c *conn) complete(w *response, ok bool) bool {
	if w.hijacked {
		return false
	}
	ok = ok && w.finish()
	whole := w.body == nil || w.body.end(w.close || !ok)
	c.in.unwatch() // after the body can be read no more, for its end begins to watch
	w.cancel()
	c.current.Store(nil)
	switch {
	case !ok:
		c.breakOff(w.framing)
		return false
	case w.close || !whole:
		if !whole || c.br.Buffered() > 0 {
			c.linger()
		}
		return false
	}
	c.out.reset()
	c.hook(http.StateIdle)
	return true
}

// run runs a handler and reports whether it has returned without a panic.
func (c *conn) run(w *response, serve func()) (ok bool) {
	defer func() {
		if ok {
			return
		}
		if v := recover(); v != http.ErrAbortHandler {
			c.server.logger().Error("panic in a handler", "addr", c.remote, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	serve()
	return true
}

// cancel ends the context of the request in flight: its client has left.
func (c *conn) cancel() {
	if w := c.current.Load(); w != nil {
		w.cancel()
	}
}

// after is the deadline d from now; none if d is zero.
func after(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
