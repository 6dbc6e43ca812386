package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/h1"
)

var errBodyTooLarge = errors.New("the body is larger than the route allows")

// body is a client's request body: bounded, watched, with its trailers sorted
// out. One goroutine reads it; others ask how it went.
type body struct {
	x       *exchange
	rc      io.Reader
	left    int64 // bytes that may still come; -1 is no bound
	reading atomic.Bool
	err     atomic.Pointer[error] // set once: io.EOF, errBodyTooLarge or the client's error
}

func newBody(x *exchange, rc io.Reader, limit int64) *body {
	return &body{x: x, rc: rc, left: limit}
}

func (b *body) Read(p []byte) (int, error) {
	if e := b.err.Load(); e != nil {
		return 0, *e
	}
	if b.left >= 0 && int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more, to see whether the body ends here
	}
	b.reading.Store(true)
	n, err := b.rc.Read(p)
	b.reading.Store(false)
	return b.took(n, err)
}

// took counts n octets that were read with err, and returns what of them may pass.
func (b *body) took(n int, err error) (int, error) {
	b.x.touch()
	if b.left >= 0 {
		if int64(n) > b.left {
			n, err = int(b.left), errBodyTooLarge
		}
		b.left -= int64(n)
	}
	if err == io.EOF {
		err = b.x.takeTrailer()
	}
	if err != nil {
		b.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// ReadPipe implements [h1.PipeReader]. Where the route's bound is near, it leaves the body
// to Read.
func (b *body) ReadPipe(p *h1.Pipe, max int) int {
	from, ok := b.rc.(h1.PipeReader)
	if !ok || b.err.Load() != nil || b.left >= 0 && int64(max) > b.left {
		return 0
	}
	b.reading.Store(true)
	n := from.ReadPipe(p, max)
	b.reading.Store(false)
	b.x.touch()
	if b.left >= 0 {
		b.left -= int64(n)
	}
	return n
}

// ReadReady implements [h1.ReadyReader].
func (b *body) ReadReady(p []byte) (int, error) {
	from, ok := b.rc.(h1.ReadyReader)
	if !ok || b.err.Load() != nil || b.left >= 0 && int64(len(p)) > b.left {
		return 0, nil
	}
	n, err := from.ReadReady(p)
	if n == 0 && err == nil {
		return 0, nil
	}
	return b.took(n, err)
}

// bufferedBody is a request body that is in memory already.
func bufferedBody(p []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(p)) }

// Close does nothing: the server closes the bodies that it opened.
func (b *body) Close() error { return nil }

// over reports whether nothing more will be read.
func (b *body) over() bool { return b.err.Load() != nil }

// failed is the error on the client's side, or nil.
func (b *body) failed() error {
	if b == nil {
		return nil
	}
	if e := b.err.Load(); e != nil && *e != io.EOF {
		return *e
	}
	return nil
}

// mayTrail reports whether a client's trailer may go upstream: only names that
// may be headers of anybody's request, for some servers merge the two.
func (x *exchange) mayTrail(name string) bool {
	return !dropped(name, x.live.keyHeader) && mayClaim(name, &x.r.Trailer, x.live.way.Header(), x.client, false) && !overridesMethod(name)
}

// brokeOff reports whether err, of reading a client's body, is the end of the
// connection rather than a fault of the body itself.
func brokeOff(r *h1.Request, err error) bool {
	if r.Major == 2 {
		// Frames have no form that can be malformed. The other errors are those of a
		// stream or connection that ends, which may be read before r's context is done.
		return !errors.Is(err, errBadTrailer) && !strings.HasPrefix(err.Error(), http2Length)
	}
	var n net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &n)
}

// http2Length begins net/http's error for a body that is shorter than its
// Content-Length. The error has no type.
const http2Length = "request declared a Content-Length of"

// whole reports whether the body has been read to its end.
func (b *body) whole() bool {
	e := b.err.Load()
	return e != nil && *e == io.EOF
}

// errBadTrailer refuses trailers that the server lets pass and would refuse as
// headers.
var errBadTrailer = errors.New("a trailer has an invalid name or value")

// validTrailers holds for the trailers of r, announced or there, that may be sent to an
// upstream. The transport refuses others, as if that were the upstream's failure.
func validTrailers(r *h1.Request) bool {
	for _, name := range r.Announced {
		if !validTrailer(name, "") {
			return false
		}
	}
	for name, v := range r.Trailer.All() {
		if !validTrailer(name, v) {
			return false
		}
	}
	return true
}

func validTrailer(name, value string) bool {
	return httpguts.ValidTrailerHeader(name) && httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value)
}

// takeTrailer copies the trailers that came after the body to those that go
// upstream. It returns io.EOF if they are sound.
func (x *exchange) takeTrailer() error {
	if !validTrailers(x.r) {
		return errBadTrailer
	}
	if x.trailer == nil {
		return io.EOF
	}
	sent := &x.r.Trailer
	for name, v := range sent.All() {
		if x.mayTrail(name) && !holdsKey(sent.Values(name)) {
			x.trailer.Add(name, v)
		}
	}
	return io.EOF
}

// announceTrailer prepares x.trailer, and returns the names that the client announced.
func (x *exchange) announceTrailer() (names []string) {
	if x.body == nil || x.r.Length >= 0 || x.buffered != nil {
		return nil
	}
	x.trailer = new(h1.Fields)
	for _, name := range x.r.Announced {
		if x.mayTrail(name) {
			names = append(names, name)
		}
	}
	return names
}

// attempt is a body as one attempt to send it sees it. Once it is read from, no
// other attempt may have it; once it is closed, the attempt may not either.
type attempt struct {
	io.Reader
	held  int // octets of the body that are in memory and have not been read
	state atomic.Uint32
}

const (
	unread uint32 = iota
	begun
	closed
)

var errAttemptOver = errors.New("the attempt to send this body is over")

func (a *attempt) Read(p []byte) (int, error) {
	a.state.CompareAndSwap(unread, begun)
	if a.state.Load() == closed {
		return 0, errAttemptOver
	}
	n, err := a.Reader.Read(p)
	a.held -= min(a.held, n)
	return n, err
}

// ReadPipe implements [h1.PipeReader].
func (a *attempt) ReadPipe(p *h1.Pipe, max int) int {
	a.state.CompareAndSwap(unread, begun)
	from, ok := a.Reader.(h1.PipeReader)
	if !ok || a.state.Load() == closed {
		return 0
	}
	return from.ReadPipe(p, max)
}

// ReadReady implements [h1.ReadyReader].
func (a *attempt) ReadReady(p []byte) (int, error) {
	if a.held > 0 {
		return a.Read(p)
	}
	a.state.CompareAndSwap(unread, begun)
	from, ok := a.Reader.(h1.ReadyReader)
	if !ok || a.state.Load() == closed {
		return 0, nil
	}
	return from.ReadReady(p)
}

// Buffered tells [h1.Transport] how much it can send together with the head.
func (a *attempt) Buffered() int { return a.held }

func (a *attempt) Close() error { return nil }

// giveUp ends the attempt and reports whether the body is still whole.
func (a *attempt) giveUp() bool {
	return a == nil || a.state.CompareAndSwap(unread, closed)
}
