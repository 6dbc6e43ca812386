package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"sync/atomic"
	"time"
)

// maxInterim bounds the interim responses (1xx) before an answer: a stream of them keeps a
// client waiting without end. Servers send 102 several times a minute at most.
const maxInterim = 64

// call is one request of a Transport.
type call struct {
	t     *Transport
	req   *http.Request
	ctx   context.Context
	trace *httptrace.ClientTrace // nil: none
	key   target
	up    upload
	body  answerBody

	// waiting is set until a request that expects a 100 has it, or has waited long enough.
	waiting atomic.Bool
	limit   *time.Timer // ends the wait

	// Of the attempt under way.
	conn    *persistConn
	before  int64 // octets that had been written to the connection
	touched bool  // an octet of an answer has come
	unwatch func() bool
}

func (t *Transport) newCall(req *http.Request) (*call, error) {
	if req.URL == nil {
		return nil, unsendable("it has no URL")
	}
	x := &call{t: t, req: req, ctx: req.Context()}
	x.trace = httptrace.ContextClientTrace(x.ctx)
	var err error
	if x.key, err = targetOf(req.URL); err != nil {
		return nil, err
	}
	body, length := bodyOf(req)
	x.waiting.Store(body != nil && hasToken(req.Header["Expect"], "100-continue"))
	return x, x.up.init(x, body, length)
}

// attempt sends the request on c and reads the head of the answer.
func (x *call) attempt(c *persistConn) (*http.Response, error) {
	x.conn, x.before, x.touched = c, c.socket.written.Load(), false
	c.begin()
	x.unwatch = context.AfterFunc(x.ctx, c.abort)
	if err := x.up.send(c); err != nil && c.socket.written.Load() == x.before {
		return nil, err
	}
	if x.waits() {
		x.limit = time.AfterFunc(x.t.ExpectContinueTimeout, x.proceed)
		if x.trace != nil && x.trace.Wait100Continue != nil {
			x.trace.Wait100Continue()
		}
	}
	res, body, err := x.head()
	if x.limit != nil {
		x.limit.Stop()
	}
	if err != nil {
		return nil, err
	}
	x.up.answered()
	return x.answer(res, body)
}

// waits reports whether the body has to wait for a 100.
func (x *call) waits() bool { return x.waiting.Load() }

// proceed sends the body of a request that has waited for a 100.
func (x *call) proceed() {
	x.waiting.Store(false)
	x.up.start()
}

// head reads the interim responses and the head of the answer.
func (x *call) head() (*http.Response, framing, error) {
	br := x.conn.br
	if _, err := br.Peek(1); err != nil {
		return nil, 0, err
	}
	if x.conn.reused && x.conn.socket.unacknowledged(x.before) {
		return nil, 0, errStray
	}
	x.touched = true
	if x.trace != nil && x.trace.GotFirstResponseByte != nil {
		x.trace.GotFirstResponseByte()
	}
	for range maxInterim {
		res, body, err := readResponse(br, x.req, x.t.maxHead())
		switch {
		case err != nil:
			return nil, 0, err
		case res.StatusCode == http.StatusSwitchingProtocols && !upgrades(x.req):
			return nil, 0, &ResponseError{errUnasked}
		case res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols:
			return res, body, nil
		}
		if err := x.interim(res); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, &ResponseError{errInterim}
}

func (x *call) interim(res *http.Response) error {
	if res.StatusCode == http.StatusContinue {
		if x.trace != nil && x.trace.Got100Continue != nil {
			x.trace.Got100Continue()
		}
		if x.waits() {
			x.proceed()
		}
	}
	if x.trace != nil && x.trace.Got1xxResponse != nil {
		return x.trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
	}
	return nil
}

// answer makes res, whose head has been read, ready for the caller.
func (x *call) answer(res *http.Response, body framing) (*http.Response, error) {
	if secure, ok := x.conn.Conn.(*tls.Conn); ok {
		state := secure.ConnectionState()
		res.TLS = &state
	}
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols && !x.up.complete():
		return nil, &ResponseError{errHalfAsked}
	case res.StatusCode == http.StatusSwitchingProtocols:
		res.Body = &tunnel{x}
	case body == noBody:
		res.Body = http.NoBody
		x.over(!res.Close)
	default:
		x.body.init(x, res, body)
		res.Body = &x.body
	}
	return res, nil
}

// over ends the call after the last octet of the answer, whose reader calls it. keep tells
// whether the connection stays open. Octets behind the answer are nobody's.
func (x *call) over(keep bool) {
	keep = keep && x.conn.br.Buffered() == 0 && !x.req.Close
	x.conn.end()
	x.up.finish(x.unwatch() && keep)
}

// drop ends the call before that.
func (x *call) drop() {
	x.unwatch()
	x.up.finish(false)
}

// mayRepeat reports whether the request may be sent again after err, the failure of an
// attempt, whose connection it closes: no octet of an answer has come, and the upstream
// cannot have read any of the request or its method is idempotent.
func (x *call) mayRepeat(err error) bool {
	c := x.conn
	again := c.reused && !x.touched && x.ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded)
	harmless := idempotent(x.req.Method) || again && c.socket.endedFirst(x.before, err)
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
func (x *call) giveUp(err error) error {
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
func (x *call) explain(err error) error {
	switch body := x.up.bodyErr(); {
	case x.ctx.Err() != nil:
		return context.Cause(x.ctx)
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
