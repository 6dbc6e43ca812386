package proxy

import (
	"errors"
	"net"
	"strings"
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
	x.out.fill(x)
	res, err := x.lane.send(x)
	if err != nil {
		return x.failed(err)
	}
	r := reply{x, res}
	defer r.close()
	return r.pass()
}

// call makes the call for an attempt at u.
func (x *exchange) call(u *upstream) (*h1.Call, *attempt) {
	c := &x.first
	if x.attempts > 0 {
		c = new(h1.Call) // a goroutine may know the first one still
	}
	c.Target, c.Method, c.Fields = u.target, x.r.Method, &x.out.Fields
	c.Host, c.Path = u.hostFor(x.lane.route, x.r), u.pathFor(x.lane.route, x.r)
	c.Manual, c.Connected, c.Interim = true, x.onConnected, x.onInterim
	c.Client, _ = x.down.(*h1.Exchange)
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

// hostFor is the value of Host in the request r of a route.
func (u *upstream) hostFor(route *route, r *h1.Request) string {
	switch {
	case route.hostRule != "":
		return route.hostRule
	case route.preserveHost && r.Host != "":
		return r.Host
	}
	return u.host
}

// pathFor is the path and query that the request r of a route has at u.
func (u *upstream) pathFor(route *route, r *h1.Request) string {
	path := r.Path
	if path == "" {
		path = "/"
	}
	if route.strip != "" {
		path = pattern.StripPrefix(path, route.strip)
	}
	if u.base == "" && len(path) == len(r.Path) && strings.HasPrefix(r.Target, path) {
		return r.Target // of origin form; the usual case needs no new text
	}
	path = u.base + path
	if r.Asked {
		path += "?" + r.Query
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
