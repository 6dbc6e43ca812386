package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
)

// Bounds of passive health: after failures in a row an upstream is passed over
// for ejectFirst, then for twice as long each time, up to ejectMost.
const (
	failuresToEject = 3
	ejectFirst      = time.Second
	ejectMost       = time.Minute
)

// upstream is one base URL with its own connections and its health.
type upstream struct {
	url       *url.URL
	transport http.RoundTripper
	close     func()

	inFlight atomic.Int64
	failures atomic.Int64 // in a row
	until    atomic.Int64 // ejected until then, Unix nanoseconds
}

// succeed notes that the upstream has answered.
func (u *upstream) succeed() {
	if u.failures.Load() != 0 {
		u.failures.Store(0)
		u.until.Store(0)
	}
}

// fail notes that the upstream did not answer.
func (u *upstream) fail(now time.Time) {
	n := u.failures.Add(1)
	if n < failuresToEject {
		return
	}
	// The shift is bounded before it can overflow.
	wait := min(ejectFirst<<min(n-failuresToEject, 20), ejectMost)
	u.until.Store(now.Add(wait).UnixNano())
}

// lane is a route with its upstreams alive.
type lane struct {
	route     *route
	upstreams []*upstream
	turn      atomic.Uint64 // where the search for the next upstream begins
	counts    *routeCounts
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

// newUpstream makes the connections of one upstream. serving is asked once more
// when a connection has been made, which may have taken seconds.
func newUpstream(base *url.URL, t Timeouts, roots *x509.CertPool, serving func() *fault.Error) *upstream {
	u := *base
	var protocols http.Protocols
	switch u.Scheme {
	case "h2c":
		u.Scheme = "http"
		protocols.SetUnencryptedHTTP2(true)
	case "https":
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	default:
		protocols.SetHTTP1(true)
	}
	dialer := net.Dialer{Timeout: t.Connect, KeepAlive: 30 * time.Second}
	tr := &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			if f := serving(); f != nil {
				c.Close()
				return nil, f
			}
			return c, nil
		},
		TLSClientConfig: &tls.Config{
			RootCAs:    roots,
			MinVersion: tls.VersionTLS12,
			VerifyConnection: func(tls.ConnectionState) error {
				if f := serving(); f != nil {
					return f
				}
				return nil
			},
		},
		TLSHandshakeTimeout:    t.Connect,
		ResponseHeaderTimeout:  t.ResponseHeader,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        time.Minute,
		MaxIdleConnsPerHost:    256,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true, // bodies pass as they are
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return &upstream{url: &u, transport: tr, close: tr.CloseIdleConnections}
}

// RoundTrip sends out to one of the lane's upstreams, and, if that fails in a way
// that allows it, to others.
func (l *lane) RoundTrip(out *http.Request) (*http.Response, error) {
	x := exchangeOf(out.Context())
	var tried []*upstream
	for {
		u := l.pick(time.Now(), tried)
		if f := x.still(); f != nil {
			return nil, f
		}
		req, body := l.prepare(out, u)
		u.inFlight.Add(1)
		res, err := u.transport.RoundTrip(req)
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
		u.fail(time.Now())
		l.counts.upstreamError(err)
		err = fmt.Errorf("upstream %s: %w", u.url.Host, err)
		if tried = append(tried, u); !again || len(tried) > l.route.retries || !idempotent(out.Method) || slow(err) {
			return nil, err
		}
		x.proxy.logger.Warn("an upstream failed, trying again", "request_id", x.id, "route", l.route.rule.Route, "attempt", len(tried), "error", err)
	}
}

// prepare is out for u: its URL, and its body with a guard.
func (l *lane) prepare(out *http.Request, u *upstream) (*http.Request, *attempt) {
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
	a := &attempt{Reader: out.Body}
	req.Body = a
	return &req, a
}

// blames reports whether err is the upstream's failure rather than the client's or ours.
func (x *exchange) blames(err error) bool {
	var f *fault.Error
	return !errors.As(err, &f) && x.body.failed() == nil && !errors.Is(err, context.Canceled)
}

// slow reports whether an upstream took a request and did not answer in time: it
// may still be working on it. A connection that was never made is not slow.
func slow(err error) bool {
	return isTimeout(err) && !dialing(err)
}

func dialing(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// idempotent are the methods of RFC 9110 section 9.2.2 that pass here.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// answered takes over a response that has begun.
func (x *exchange) answered(res *http.Response, u *upstream) {
	x.touch()
	x.head.Store(true)
	x.takeCost(res)
	x.editResponse(res, u.url)
	a := &answer{ReadCloser: res.Body, x: x, u: u}
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
	gone atomic.Bool
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.x.touch()
	return n, err
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

// CloseWrite passes on the end of one direction; where that cannot be told
// apart from the end of both, its error ends both.
func (t *tunnel) CloseWrite() error { return closeWrite(t.rw) }

func closeWrite(c any) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}
