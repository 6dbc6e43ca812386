package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxInterim bounds the interim responses (1xx) before an answer: a stream of them keeps a
// client waiting without end. Servers send 102 several times a minute at most.
const maxInterim = 64

// Payload is the body of a request with its trailer.
type Payload struct {
	Body   io.ReadCloser // nil: there is none
	Length int64         // of Body; -1: it goes out in chunks
	// Unsure says that a body without a length may turn out to be empty. Then none is sent
	// with a method for which that matters.
	Unsure    bool
	Announced []string // the names of trailer fields, if the length is -1
	Trailer   *Fields  // read after the end of the body; nil: there is none
}

// Call is a request to an upstream, for [Transport.Do], with its answer. It may be used
// again after Reset.
type Call struct {
	Target Target
	Method string // "" is GET
	Path   string // of the request line, with the query
	Host   string
	Fields *Fields // those that frame the message are left out
	Close  bool    // the connection ends after the answer

	Payload

	// Connected is called when there is a connection, before anything is written to it. It
	// may be nil, as may Interim, which is called for each interim answer. Its error ends
	// the call.
	Connected func(c net.Conn, reused bool)
	Interim   func(status int, f *Fields) error

	// Manual says that the caller ends the call by Abort, once the context is done, which
	// costs less than waiting for that.
	Manual bool
	// Client is the request that the call is made for; nil if it is none of a [Server].
	Client *Exchange

	t      *Transport
	ctx    context.Context
	up     upload
	answer Answer
	body   answerBody

	pause
	try
	cut struct { // by Abort
		sync.Mutex // guards what follows
		done       bool
		conn       *persistConn // nil: there is none to be cut
		stop       func() bool  // of the context's hook; nil if Manual
	}
}

// pause is the wait of a request that expects a 100.
type pause struct {
	waiting atomic.Bool // until it has come, or has been waited for long enough
	limit   *time.Timer // ends the wait
}

// try is the attempt of a call that is under way.
type try struct {
	conn    *persistConn
	before  int64 // octets that had been written to the connection
	touched bool  // an octet of an answer has come
}

// Abort ends the call, if it is Manual, whose context says why.
func (x *Call) Abort() {
	x.cut.Lock()
	x.cut.done = true
	c := x.cut.conn
	x.cut.Unlock()
	if c != nil {
		c.abort()
	}
}

// watch has c closed when the call is to end.
func (x *Call) watch(c *persistConn) {
	if !x.Manual {
		x.cut.stop = context.AfterFunc(x.ctx, c.abort)
		return
	}
	x.cut.Lock()
	x.cut.conn = c
	done := x.cut.done
	x.cut.Unlock()
	if done {
		c.abort()
	}
}

// unwatch takes watch back, and reports whether the connection was left alone.
func (x *Call) unwatch() bool {
	if !x.Manual {
		return x.cut.stop()
	}
	x.cut.Lock()
	defer x.cut.Unlock()
	x.cut.conn = nil
	return !x.cut.done
}

// Reusable reports whether Reset may be called: the answer's body has been closed, or read
// to its end, and no goroutine is left.
func (x *Call) Reusable() bool {
	return x.limit == nil && !x.up.started && !x.up.prepared && x.body.over.Load()
}

// Reset makes x blank, with the room that its fields have.
func (x *Call) Reset() {
	fields, trailer := x.answer.Fields, x.answer.Trailer
	fields.Reset()
	trailer.Reset()
	x.Target, x.Method, x.Path, x.Host, x.Fields, x.Close = Target{}, "", "", "", nil, false
	x.Payload = Payload{}
	x.Connected, x.Interim, x.Client = nil, nil, nil
	x.Manual, x.t, x.ctx, x.conn = false, nil, nil, nil
	x.cut.done, x.cut.conn, x.cut.stop = false, nil, nil
	x.up.reset()
	x.body.reset()
	x.answer = Answer{Fields: fields, Trailer: trailer}
}

func (x *Call) prepare() error {
	x.waiting.Store(x.Body != nil && hasToken(x.Fields.Values("Expect"), "100-continue"))
	return x.up.init(x, x.Body, x.Length)
}

// attempt sends the request on c and reads the head of the answer.
func (x *Call) attempt(c *persistConn) error {
	x.conn, x.before, x.touched = c, c.socket.written.Load(), false
	c.begin()
	x.watch(c)
	if c.mayTurn() {
		// A body that was read cannot go to another upstream: the connection is looked at first.
		if x.Body != nil && c.unchecked && !c.quiet() {
			return errStale
		}
		if err := x.up.gather(c); err != nil {
			return err
		}
	}
	if c.mayTurn() && x.up.isWhole() {
		if err := x.up.turn(c); err != nil {
			return err
		}
	} else if c.unchecked && !c.quiet() {
		return errStale
	} else if err := x.sendAlone(c); err != nil && c.socket.written.Load() == x.before {
		return err
	}
	if x.waits() {
		x.limit = time.AfterFunc(x.t.ExpectContinueTimeout, x.proceed)
	}
	body, err := x.head()
	if x.limit != nil {
		x.limit.Stop()
	}
	if err != nil {
		return err
	}
	x.up.answered(c.mayTurn() && (body == noBody || body == byLength && x.answer.Length <= int64(c.br.Buffered())))
	return x.finishHead(body)
}

// sendAlone writes a request that other goroutines may write, too.
func (x *Call) sendAlone(c *persistConn) error {
	x.leaveLoop()
	return x.up.send(c)
}

// discard gives up an idle connection that was no longer fit.
func (x *Call) discard(c *persistConn) {
	x.unwatch()
	c.abort()
	c.end()
	x.conn = nil
}

// waits reports whether the body has to wait for a 100.
func (x *Call) waits() bool { return x.waiting.Load() }

// proceed sends the body of a request that has waited for a 100.
func (x *Call) proceed() {
	x.waiting.Store(false)
	x.up.start()
}

// head reads the interim responses and the head of the answer.
func (x *Call) head() (framing, error) {
	br := x.conn.br
	if _, err := br.Peek(1); err != nil {
		return 0, err
	}
	if x.conn.reused && x.conn.socket.early(x.before) {
		return 0, errStray
	}
	x.touched = true
	for range maxInterim {
		body, err := x.answer.read(br, x.Method, x.t.maxHead())
		switch {
		case err != nil:
			return 0, err
		case x.answer.Status == http.StatusSwitchingProtocols && !x.upgrades():
			return 0, &ResponseError{errUnasked}
		case x.answer.Status >= 200 || x.answer.Status == http.StatusSwitchingProtocols:
			return body, nil
		}
		if err := x.interim(); err != nil {
			return 0, err
		}
	}
	return 0, &ResponseError{errInterim}
}

func (x *Call) interim() error {
	if x.answer.Status == http.StatusContinue && x.waits() {
		x.proceed()
	}
	if x.Interim != nil {
		return x.Interim(x.answer.Status, &x.answer.Fields)
	}
	return nil
}

// upgrades reports whether x asks to switch to another protocol.
func (x *Call) upgrades() bool {
	return x.Fields.Has("Upgrade") && hasToken(x.Fields.Values("Connection"), "upgrade")
}

// finishHead makes the answer, whose head has been read, ready for the caller.
func (x *Call) finishHead(body framing) error {
	switch {
	case x.answer.Status == http.StatusSwitchingProtocols && !x.up.complete():
		return &ResponseError{errHalfAsked}
	case x.answer.Status == http.StatusSwitchingProtocols:
		x.answer.Body = &tunnel{x}
	case body == noBody:
		x.answer.Body = http.NoBody
		x.body.over.Store(true)
		x.over(!x.answer.Close)
	default:
		x.body.init(x, body)
		x.answer.Body = &x.body
	}
	return nil
}

// over ends the call after the last octet of the answer, whose reader calls it. keep tells
// whether the connection stays open. Octets behind the answer are nobody's.
func (x *Call) over(keep bool) {
	keep = keep && x.conn.br.Buffered() == 0 && !x.Close
	x.conn.end()
	x.up.finish(x.unwatch() && keep)
}

// drop ends the call before that.
func (x *Call) drop() {
	x.unwatch()
	x.up.finish(false)
}

// mayRepeat reports whether the request may be sent again after err, the failure of an
// attempt, whose connection it closes: no octet of an answer has come, and the upstream
// cannot have read any of the request or its method is idempotent.
func (x *Call) mayRepeat(err error) bool {
	c := x.conn
	again := c.reused && !x.touched && causeOf(x.ctx) == nil && !errors.Is(err, os.ErrDeadlineExceeded)
	harmless := idempotent(x.Method) || again && c.socket.endedFirst(x.before, err)
	c.abort()
	again = again && x.up.repeatable() // from here on, nothing is written
	if !again || !harmless && c.socket.written.Load() > x.before {
		return false
	}
	x.unwatch()
	c.end()
	return true
}

// idempotent reports whether a method may be tried twice (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// giveUp ends the call with err.
func (x *Call) giveUp(err error) error {
	if x.conn != nil {
		x.unwatch()
		if x.conn.br != nil {
			x.conn.end()
		}
	}
	x.up.giveUp()
	return err
}

// explain is the error to return for err, which an attempt has failed with.
func (x *Call) explain(err error) error {
	switch body := x.up.bodyErr(); {
	case causeOf(x.ctx) != nil:
		return causeOf(x.ctx)
	case body != nil:
		return body
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrNoResponse
	case err == io.EOF && !x.touched:
		return errEnded
	case errors.As(err, new(*ResponseError)):
		return err
	}
	return fmt.Errorf("read the response: %w", err)
}
