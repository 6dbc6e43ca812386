package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
)

var errBodyTooLarge = errors.New("the body is larger than the route allows")

// body is a client's request body: bounded, watched, with its trailers sorted
// out. One goroutine reads it; others ask how it went.
type body struct {
	x       *exchange
	rc      io.Reader
	left    int64 // bytes that may still come; -1 is no bound
	reading atomic.Bool
	err     atomic.Pointer[error] // set once: io.EOF, errBodyTooLarge or what the client did
}

func newBody(x *exchange, rc io.Reader, limit int64) *body {
	return &body{x: x, rc: rc, left: limit}
}

func (b *body) Read(p []byte) (int, error) {
	if e := b.err.Load(); e != nil {
		return 0, *e
	}
	if b.left >= 0 && int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more tells a body that ends here from one that does not
	}
	b.reading.Store(true)
	n, err := b.rc.Read(p)
	b.reading.Store(false)
	b.x.touch()
	if b.left >= 0 {
		if int64(n) > b.left {
			n, err = int(b.left), errBodyTooLarge
		}
		b.left -= int64(n)
	}
	if err == io.EOF {
		b.x.takeTrailer()
	}
	if err != nil {
		b.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// unread puts back what the last reads gave.
func (b *body) unread(p []byte) {
	if len(p) == 0 {
		return
	}
	if b.left >= 0 {
		b.left += int64(len(p))
	}
	if e := b.err.Swap(nil); e != nil {
		b.rc = io.MultiReader(bytes.NewReader(p), failing{*e})
		return
	}
	b.rc = io.MultiReader(bytes.NewReader(p), b.rc)
}

// failing is a reader at its end.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// bufferedBody is a request body that is in memory already.
func bufferedBody(p []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(p)) }

// Close does nothing: the server closes what it opened.
func (b *body) Close() error { return nil }

// over reports whether nothing more will be read.
func (b *body) over() bool { return b.err.Load() != nil }

// failed is what went wrong on the client's side, or nil.
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
	return !dropped(name, x.live.keyHeader) && !forwarding(name) && !slices.Contains(methodOverrides[:], name)
}

// takeTrailer copies the trailers that came after the body to those that go
// upstream.
func (x *exchange) takeTrailer() {
	if x.trailer == nil {
		return
	}
	for name, values := range x.r.Trailer {
		if x.mayTrail(name) {
			x.trailer[name] = values
		}
	}
}

// announceTrailer prepares x.trailer with the names that the client announced.
func (x *exchange) announceTrailer() {
	if x.body == nil || x.r.ContentLength >= 0 || x.buffered != nil {
		return
	}
	x.trailer = http.Header{}
	for name := range x.r.Trailer {
		if x.mayTrail(name) {
			x.trailer[name] = nil
		}
	}
}

// attempt is a body as one attempt to send it sees it. Once it is read from, no
// other attempt may have it; once it is closed, the attempt may not either.
type attempt struct {
	io.Reader
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
	return a.Reader.Read(p)
}

func (a *attempt) Close() error { return nil }

// giveUp ends the attempt and reports whether the body is still whole.
func (a *attempt) giveUp() bool {
	return a == nil || a.state.CompareAndSwap(unread, closed)
}
