package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// lane is a route with its upstreams alive.
type lane struct {
	route     *route
	upstreams []*upstream
	turn      atomic.Uint64 // where the search for the next upstream begins
	counts    *routeCounts
	seen      *seenCosts
}

// pick chooses the healthy upstream with the fewest requests under way, in turn
// among equals; if none is healthy, of all. Those in tried come last.
func (l *lane) pick(now time.Time, tried []*upstream) *upstream {
	n := len(l.upstreams)
	if n == 1 {
		return l.upstreams[0]
	}
	from := int(l.turn.Add(1) % uint64(n))
	at := now.UnixNano()
	var best *upstream
	bestRank, bestLoad := 0, int64(0)
	for i := range n {
		u := l.upstreams[(from+i)%n]
		rank := 0
		if u.until.Load() > at {
			rank = 1
		}
		if slices.Contains(tried, u) {
			rank += 2
		}
		load := u.inFlight.Load()
		if best == nil || rank < bestRank || rank == bestRank && load < bestLoad {
			best, bestRank, bestLoad = u, rank, load
		}
	}
	return best
}

// newUpstream makes an upstream of a route.
func (p *Proxy) newUpstream(base *url.URL, r *route) *upstream {
	u, name := *base, base.String()
	if u.Scheme == "h2c" {
		u.Scheme = "http"
	}
	tr := newTransport(base.Scheme, r.timeouts, p.roots, p.gate.Serving)
	return &upstream{
		url: &u, name: name, transport: tr,
		health: health{log: p.logger.With("route", r.rule.Route, "upstream", name)},
		counts: p.metrics.ofUpstream(r.rule.Route, name),
	}
}

// send sends out, a request of x, to one of the lane's upstreams, and, if that
// fails in a way that allows it, to others.
func (l *lane) send(x *exchange, out *http.Request) (*http.Response, error) {
	var tried []*upstream
	for {
		now := time.Now()
		u := l.pick(now, tried)
		if f := x.still(); f != nil {
			return nil, f
		}
		req, body := l.prepare(out, u, len(x.buffered))
		x.upstream = u
		x.attempts++
		u.inFlight.Add(1)
		res, err := u.roundTrip(req, now)
		if err == nil {
			u.succeed()
			x.answered(res, u)
			res.Request = out
			return res, nil
		}
		u.inFlight.Add(-1)
		again := body.giveUp()
		if !x.blames(err) {
			return nil, err
		}
		if !mayOwe(x, err) {
			u.fail(time.Now(), err)
		}
		l.counts.upstreamError(err)
		err = fmt.Errorf("upstream %s: %w", u.url.Host, err)
		if tried = append(tried, u); !again || len(tried) > l.route.retries || !idempotent(out.Method) || slow(err) {
			return nil, err
		}
		// If the next attempt fails too, that is the line for this request.
		x.proxy.logger.Debug("an upstream failed; trying again", "request_id", x.id, "route", l.route.rule.Route, "attempt", x.attempts, "error", err)
	}
}

// roundTrip sends req and refuses a response whose status is none (099), which no
// server could pass on. It counts the attempt, which began at the given time.
func (u *upstream) roundTrip(req *http.Request, began time.Time) (*http.Response, error) {
	res, err := u.transport.RoundTrip(req)
	if err == nil && (res.StatusCode < 100 || res.StatusCode > 999) {
		res.Body.Close()
		err = fmt.Errorf("the status %d is not one of HTTP", res.StatusCode)
	}
	if err != nil {
		if f := ofRequest(err); f != nil {
			return nil, f
		}
		u.counts.failed.Inc()
		return nil, err
	}
	u.counts.answered(res.StatusCode, time.Since(began))
	return res, nil
}

// prepare is out for u: its URL, and its body with a guard. The first held octets of the
// body are in memory.
func (l *lane) prepare(out *http.Request, u *upstream, held int) (*http.Request, *attempt) {
	req := *out
	target := *out.URL
	target.Scheme, target.Host = u.url.Scheme, u.url.Host
	if base := strings.TrimSuffix(u.url.Path, "/"); base != "" {
		escaped := strings.TrimSuffix(u.url.EscapedPath(), "/") + out.URL.EscapedPath()
		target.Path, target.RawPath = base+out.URL.Path, escaped
	}
	req.URL = &target
	if out.Body == nil {
		return &req, nil
	}
	a := &attempt{Reader: out.Body, held: held}
	req.Body = a
	return &req, a
}

// blames reports whether err is the upstream's failure rather than the client's or ours.
func (p *payload) blames(err error) bool {
	var f *fault.Error
	return !errors.As(err, &f) && p.body.failed() == nil && !errors.Is(err, context.Canceled)
}

// slow reports whether an upstream took a request and did not answer in time: it
// may still be working on it. A connection that was never made is not slow.
func slow(err error) bool {
	return isTimeout(err) && !dialing(err)
}

// dialing reports whether err is that of making a connection, TLS included.
func dialing(err error) bool {
	var op *net.OpError
	return errors.As(err, new(*h1.ConnectError)) || errors.As(err, &op) && op.Op == "dial" // of HTTP/2
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// timedOut is the fault of a request that ended with the route's timeout name.
func timedOut(name string, after time.Duration) *fault.Error {
	return fault.Newf(fault.UpstreamTimeout, "The service behind the gateway did not answer in time (timeouts.%s, %s).", name, after)
}

// slowUpstream is the fault for a timeout error of the transport.
func slowUpstream(err error, t Timeouts) *fault.Error {
	// The error of HTTP/2 has no type.
	if !errors.Is(err, h1.ErrNoResponse) && !strings.Contains(err.Error(), "awaiting response headers") {
		return fault.Wrap(fault.UpstreamTimeout, err)
	}
	f := timedOut("response_header", t.ResponseHeader)
	f.Cause = err
	return f
}

// idempotent are the methods of RFC 9110 section 9.2.2 that pass here.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// answered edits and watches a response that has begun.
func (x *exchange) answered(res *http.Response, u *upstream) {
	x.touch()
	x.head.Store(true)
	x.takeCost(res)
	if !x.late {
		x.settle(nil) // the client must not see the answer before the rest of the reserve is free
	}
	x.editResponse(res)
	a := &answer{ReadCloser: res.Body, x: x, u: u, res: res}
	if rw, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &tunnel{a, rw}
	} else {
		res.Body = a
	}
}

// answer is a response's body, watched.
type answer struct {
	io.ReadCloser
	x    *exchange
	u    *upstream
	res  *http.Response
	gone atomic.Bool
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.x.touch()
	if err == io.EOF {
		a.x.takeLateCost(a.res)
	} else if err != nil {
		a.brokeOff(err)
	}
	if err == io.EOF && len(a.res.Trailer) > 0 {
		a.x.editHead(a.res.Trailer) // it has come with the end
	}
	return n, err
}

// brokeOff logs the end of a response that the upstream has not finished. Tunnels
// end in many ways, and a client or a timeout that ends one is no failure of the
// upstream.
func (a *answer) brokeOff(err error) {
	if a.res.StatusCode == http.StatusSwitchingProtocols || a.res.Request.Context().Err() != nil || !a.x.blames(err) {
		return
	}
	a.x.lane.counts.broken.Inc()
	a.x.proxy.logger.Warn("an upstream broke off its answer", "request_id", a.x.id, "route", a.x.routeName(), "upstream", a.u.name, "error", err)
}

func (a *answer) Close() error {
	if !a.gone.Swap(true) {
		a.u.inFlight.Add(-1)
	}
	return a.ReadCloser.Close()
}

// tunnel is the upstream's side of a connection that has switched protocols.
type tunnel struct {
	*answer
	rw io.ReadWriteCloser
}

func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.rw.Write(p)
	t.x.touch()
	return n, err
}

// CloseWrite passes on the end of one direction; where that is not possible, its
// error ends both.
func (t *tunnel) CloseWrite() error { return closeWrite(t.rw) }

func closeWrite(c any) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}
