package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// Forwarder carries an admitted request to an upstream of its route, and the
// answer back. It returns nil once the head of a response has gone to the client;
// otherwise nothing has been written and the fault says what to answer. It may
// panic with http.ErrAbortHandler when a response breaks off half-way. Closing
// or canceling is noticed through the request's context.
type Forwarder interface {
	Forward(w http.ResponseWriter, r *http.Request, x *exchange) *fault.Error
}

// reverse forwards with httputil.ReverseProxy.
type reverse struct{ httputil.ReverseProxy }

func newReverse(logger *slog.Logger) *reverse {
	return &reverse{httputil.ReverseProxy{
		Rewrite:   rewrite,
		Transport: laneTransport{},
		// What is held back is lost when an upstream breaks off.
		FlushInterval: -1,
		BufferPool:    new(buffers),
		ErrorHandler:  func(_ http.ResponseWriter, r *http.Request, err error) { note(r, err) },
		// What it has to say is about clients that leave and upstreams that break off.
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}}
}

func (f *reverse) Forward(w http.ResponseWriter, r *http.Request, x *exchange) *fault.Error {
	if x.body != nil && r.ProtoMajor == 1 {
		// An upstream may answer before it has read all; without this, the server
		// first drains what the client sends.
		x.rc.EnableFullDuplex()
	}
	f.ServeHTTP(w, r)
	return x.refuse
}

// rewrite makes the request that goes upstream. Its URL has no host yet: that is
// for each attempt to choose.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	out := pr.Out
	x.setHeaders(out)
	out.URL.RawQuery = pr.In.URL.RawQuery // byte for byte: ReverseProxy has dropped what it cannot parse
	path := pr.In.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if strip := x.lane.route.strip; strip != "" {
		path = stripPrefix(path, strip)
	}
	if decoded, err := url.PathUnescape(path); err == nil {
		out.URL.Path, out.URL.RawPath = decoded, path
	}
	out.URL.Opaque, out.URL.User, out.URL.Fragment = "", nil, ""
	x.announceTrailer()
	out.Trailer = x.trailer
}

// laneTransport sends a request through its own lane.
type laneTransport struct{}

func (laneTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return exchangeOf(r.Context()).lane.RoundTrip(r)
}

// note settles what a failed attempt is answered with.
func note(out *http.Request, err error) {
	x := exchangeOf(out.Context())
	if f := new(fault.Error); errors.As(context.Cause(out.Context()), &f) || errors.As(err, &f) {
		x.refuse = f
		return
	}
	switch {
	case errors.Is(x.body.failed(), errBodyTooLarge):
		x.refuse = fault.New(fault.BodyTooLarge)
	case x.body.failed() != nil, x.r.Context().Err() != nil:
		x.refuse = errClientGone
	case isTimeout(err):
		x.refuse = fault.Wrap(fault.UpstreamTimeout, err)
	default:
		x.refuse = fault.Wrap(fault.UpstreamUnreachable, err)
	}
}

// errClientGone is never written: nobody is there to read it.
var errClientGone = fault.Newf(fault.InvalidRequest, "The client has gone.")

// statusClientGone is what nginx logs for it.
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
