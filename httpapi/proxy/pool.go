package proxy

import (
	"context"
	"errors"
	"fmt"
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

// name is the path of the route as configured; "" of a nil lane: no route was found.
func (l *lane) name() string {
	if l == nil {
		return ""
	}
	return l.route.rule.Route
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
	// The configuration has been checked: an error would be that of every request.
	target, _ := h1.TargetOf(&u)
	host, _ := h1.HostOf(u.Host)
	return &upstream{
		url: &u, name: name, target: target, host: host, base: strings.TrimSuffix(u.EscapedPath(), "/"),
		transport: newTransport(base.Scheme, r.timeouts, p.tlsOf(r), p.gate.Serving),
		health:    health{log: p.logger.With("route", r.rule.Route, "upstream", name)},
		counts:    p.metrics.ofUpstream(r.rule.Route, name),
	}
}

// send sends x to one of the lane's upstreams, and, if that fails in a way that allows it,
// to others.
func (l *lane) send(x *exchange) (*h1.Answer, error) {
	var tried []*upstream
	for {
		now := time.Now()
		u := l.pick(now, tried)
		if f := x.still(); f != nil {
			return nil, f
		}
		call, body := x.call(u)
		x.upstream = u
		x.attempts++
		u.inFlight.Add(1)
		res, err := u.do(&x.life, call, now)
		if err == nil {
			u.succeed()
			return res, nil
		}
		u.inFlight.Add(-1)
		x.life.attach(nil)
		again := body.giveUp()
		err = l.route.adviseTLS(u.url, err)
		if !x.blames(err) {
			return nil, err
		}
		if !mayOwe(x, err) {
			u.fail(time.Now(), err)
		}
		l.counts.upstreamError(err)
		err = fmt.Errorf("upstream %s: %w", u.url.Host, err)
		if tried = append(tried, u); !again || len(tried) > l.route.retries || !idempotent(x.r.Method) || slow(err) {
			return nil, err
		}
		// If the next attempt fails too, that is the line for this request.
		x.proxy.logger.Debug("an upstream failed; trying again", "request_id", x.id, "route", l.route.rule.Route, "attempt", x.attempts, "error", err)
	}
}

// do makes a call and counts the attempt, which began at the given time.
func (u *upstream) do(ctx context.Context, call *h1.Call, began time.Time) (*h1.Answer, error) {
	res, err := u.transport.Do(ctx, call)
	if err != nil {
		if f := ofRequest(err); f != nil {
			return nil, f
		}
		u.counts.failed.Inc()
		return nil, err
	}
	u.counts.answered(res.Status, time.Since(began))
	return res, nil
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
