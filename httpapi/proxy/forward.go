package proxy

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"sync"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/pattern"
)

// forwarder carries an admitted request, r of x, to an upstream of its route,
// and the response back. It returns nil once the head of a response has gone to
// the client; otherwise nothing has been written and the fault is the answer. It
// may panic with http.ErrAbortHandler when a response breaks off half-way. It
// learns that a request was closed or canceled from r's context.
type forwarder interface {
	forward(x *exchange, r *http.Request) *fault.Error
}

// reverse forwards with httputil.ReverseProxy, one for each request.
type reverse struct {
	buffers buffers
	log     *log.Logger
}

func newReverse(logger *slog.Logger) *reverse {
	// ReverseProxy logs clients that leave and upstreams that break off.
	return &reverse{log: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
}

func (f *reverse) forward(x *exchange, r *http.Request) *fault.Error {
	rp := httputil.ReverseProxy{
		Rewrite:       x.rewrite,
		Transport:     sending{x},
		FlushInterval: -1, // held-back bytes would be lost when an upstream breaks off
		BufferPool:    &f.buffers,
		ErrorHandler:  x.fail,
		ErrorLog:      f.log,
	}
	rp.ServeHTTP(x.w, r)
	return x.failure
}

// sending is the transport of one exchange.
type sending struct{ x *exchange }

// RoundTrip implements [http.RoundTripper].
func (s sending) RoundTrip(out *http.Request) (*http.Response, error) {
	// A connection rather than written bytes: the hook runs before RoundTrip can
	// return, so no request escapes its charge by being canceled in between.
	ctx := httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { s.x.sent.Store(true) },
	})
	return s.x.lane.send(s.x, out.WithContext(ctx))
}

// rewrite makes the request that goes upstream. Its URL has no host yet: each
// attempt chooses one.
func (x *exchange) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	x.setHeaders(out)
	out.URL.RawQuery = pr.In.URL.RawQuery // byte for byte: ReverseProxy has dropped pairs that it cannot parse
	path := pr.In.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if strip := x.lane.route.strip; strip != "" {
		path = pattern.StripPrefix(path, strip)
	}
	if decoded, err := url.PathUnescape(path); err == nil {
		out.URL.Path, out.URL.RawPath = decoded, path
	}
	out.URL.Opaque, out.URL.User, out.URL.Fragment = "", nil, ""
	x.announceTrailer()
	out.Trailer = x.trailer
}

// fail settles the answer to a request after its attempts have failed.
func (x *exchange) fail(_ http.ResponseWriter, out *http.Request, err error) {
	if f := new(fault.Error); errors.As(context.Cause(out.Context()), &f) || errors.As(err, &f) {
		x.failure = f
		return
	}
	switch broken := x.body.failed(); {
	case broken != nil:
		x.failure = x.bodyFault(broken)
	case x.r.Context().Err() != nil:
		x.failure = errClientGone
	case isTimeout(err):
		x.failure = slowUpstream(err, x.lane.route.timeouts)
	default:
		x.failure = fault.Wrap(fault.UpstreamUnreachable, err)
	}
}

// errClientGone answers a request whose client broke off. It is written all the
// same: a client that has only closed its own direction still reads, and a handler
// that returns without an answer would send it a 200.
var errClientGone = fault.Newf(fault.InvalidRequest, "The connection ended before the request was complete.")

// statusClientGone is the status that nginx logs for it, and the one reported here.
const statusClientGone = 499

// buffers are reused for copying response bodies.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
