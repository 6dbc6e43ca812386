package h1

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
)

// drainBytes bounds the rest of a body that its handler has left: so much of it is read
// after the answer, within LingerTime, and then the connection is kept.
const drainBytes = 256 << 10

// The states of a body.
const (
	bodyOpen   uint32 = iota
	bodyWhole         // it was read to its end
	bodyBroken        // it cannot be
)

// body is the body of a request. Its Read returns an [*Error] for a malformed body. It
// may be read by one goroutine at a time, which need not be the handler's.
type body struct {
	w *response

	left  atomic.Int64 // octets that are still to come; -1 is chunked
	state atomic.Uint32

	mu     sync.Mutex // held while a part is read, also to write the fields above; guards those below
	chunks chunkedReader
	err    error // the end, or why there is none
	closed bool
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	}
	b.w.sendContinue()
	return b.readLocked(p)
}

func (b *body) readLocked(p []byte) (n int, err error) {
	if left := b.left.Load(); left < 0 {
		n, err = b.chunks.Read(p)
	} else {
		n, err = b.w.c.br.Read(p[:min(int64(len(p)), left)])
		return b.tookLocked(n, err)
	}
	if err != nil {
		b.finishLocked(err)
	}
	return n, err
}

// tookLocked counts n octets of a body with a length, which were read with err.
func (b *body) tookLocked(n int, err error) (int, error) {
	left := b.left.Add(-int64(n))
	switch {
	case left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		b.finishLocked(err)
	}
	return n, err
}

// finishLocked notes the end of the body, or its fault.
func (b *body) finishLocked(err error) {
	b.err = err
	b.state.Store(bodyBroken)
	c := b.w.c
	if e := new(Error); errors.As(err, &e) {
		c.server.fault(e)
		return
	}
	if err != io.EOF {
		c.cancel() // the client has left, or takes too long
		return
	}
	b.state.Store(bodyWhole)
	b.w.req.Trailer = b.chunks.trailer
	if r := b.w.r; r != nil && b.chunks.trailer.Len() > 0 {
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		maps.Copy(r.Trailer, b.chunks.trailer.Header())
	}
	if !b.closed { // the handler goes on
		c.in.watch()
	}
}

// Close implements [io.Closer]: the body is not read any more.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// end is called after the answer. It stops a goroutine that still reads the body, reads the rest
// of it unless the connection is to be closed, and reports whether there is none left.
func (b *body) end(closing bool) (whole bool) {
	deadline := past
	if !closing {
		deadline = after(b.w.c.server.LingerTime)
	}
	b.w.c.in.setDeadline(deadline) // before the lock, which a reader may hold
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if closing || b.err != nil {
		return b.err == io.EOF
	}
	buf := make([]byte, 1<<10)
	for left := drainBytes; left > 0 && b.err == nil; {
		n, _ := b.readLocked(buf)
		left -= n
	}
	return b.err == io.EOF
}
