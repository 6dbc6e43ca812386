package proxy

import (
	"errors"
	"net"
	"sync"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/pattern"
)

// forward carries an admitted request to an upstream of its route, and the response back.
// It returns nil once the head of a response has gone to the client; otherwise nothing has
// been written and the fault is the answer. It panics with [http.ErrAbortHandler] when a
// response breaks off half-way.
func (x *exchange) forward() *fault.Error {
	x.makeHead()
	res, err := x.lane.send(x)
	if err != nil {
		return x.failed(err)
	}
	defer x.closeAnswer(res)
	return x.respond(res)
}

// call makes the call for an attempt at u.
func (x *exchange) call(u *upstream) (*h1.Call, *attempt) {
	c := &x.first
	if x.body != nil || x.attempts > 0 {
		c = new(h1.Call) // a goroutine may outlive it
	}
	c.Target, c.Method, c.Host, c.Path, c.Fields = u.target, x.r.Method, x.hostFor(u), x.pathFor(u), &x.out
	c.Manual, c.Connected, c.Interim = true, x.onConnected, x.onInterim
	var a *attempt
	switch {
	case x.buffered != nil:
		a = &attempt{Reader: bufferedBody(x.buffered), held: len(x.buffered)}
		c.Length = int64(len(x.buffered))
	case x.body != nil:
		a = &attempt{Reader: x.body}
		c.Length = x.r.Length
		c.Unsure = x.r.Length < 0 && x.r.Major == 2
		c.Announced = x.announceTrailer()
		c.Trailer = x.trailer
	}
	if a != nil {
		c.Body = a
	}
	x.life.attach(c)
	return c, a
}

// pathFor is the path and query for the upstream u.
func (x *exchange) pathFor(u *upstream) string {
	path := x.r.Path
	if path == "" {
		path = "/"
	}
	if strip := x.lane.route.strip; strip != "" {
		path = pattern.StripPrefix(path, strip)
	}
	path = u.base + path
	if x.r.Asked {
		path += "?" + x.r.Query
	}
	return path
}

// connected notes that there is a connection to write the request to: no request escapes
// its charge by being aborted in between.
func (x *exchange) connected(net.Conn, bool) { x.sent.Store(true) }

// failed settles the answer to a request after its attempts have failed.
func (x *exchange) failed(err error) *fault.Error {
	if f := new(fault.Error); errors.As(x.life.Cause(), &f) || errors.As(err, &f) {
		return f
	}
	switch broken := x.body.failed(); {
	case broken != nil:
		return x.bodyFault(broken)
	case x.down.Left():
		return errClientGone
	case isTimeout(err):
		return slowUpstream(err, x.lane.route.timeouts)
	}
	return fault.Wrap(fault.UpstreamUnreachable, err)
}

// errClientGone answers a request whose client broke off. It is written all the
// same: a client that has only closed its own direction still reads, and a handler
// that returns without an answer would send it a 200.
var errClientGone = fault.Newf(fault.InvalidRequest, "The connection ended before the request was complete.")

// statusClientGone is the status that nginx logs for it, and the one reported here.
const statusClientGone = 499

// buffers are reused for copying response bodies.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

const bufferSize = 32 << 10
