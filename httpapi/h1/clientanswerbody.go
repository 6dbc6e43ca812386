package h1

import (
	"io"
	"net/http"
	"sync/atomic"
)

// answerBody is the body of an answer. Its end gives the connection back, Close before
// that ends the connection, so that nobody waits for octets that nobody needs.
type answerBody struct {
	call *call
	res  *http.Response
	from io.Reader
	err  error       // that ended it; of the reader's goroutine
	over atomic.Bool // the call has ended: by the reader, or by Close
}

// Read implements [io.Reader].
func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	if err == nil {
		return n, nil
	}
	if b.err = err; err == io.EOF {
		if chunks, ok := b.from.(*chunkedReader); ok {
			takeTrailer(b.res, chunks.trailer)
		}
		if b.over.CompareAndSwap(false, true) {
			b.call.over(!b.res.Close)
		}
		return n, err
	}
	b.err = b.call.explain(ofResponse(err))
	if b.over.CompareAndSwap(false, true) {
		b.call.drop()
	}
	return n, b.err
}

// Close implements [io.Closer]. It may be called while Read waits, and ends that.
func (b *answerBody) Close() error {
	if b.over.CompareAndSwap(false, true) {
		b.call.drop()
	}
	return nil
}

// tunnel is the connection of a call after a 101, for another protocol.
type tunnel struct{ call *call }

// Read implements [io.Reader]. The octets that came with the 101 are first.
func (t *tunnel) Read(p []byte) (int, error) { return t.call.conn.br.Read(p) }

// Write implements [io.Writer].
func (t *tunnel) Write(p []byte) (int, error) { return t.call.conn.Write(p) }

// CloseWrite ends one direction.
func (t *tunnel) CloseWrite() error { return t.call.conn.CloseWrite() }

// Close implements [io.Closer].
func (t *tunnel) Close() error {
	t.call.unwatch()
	return t.call.conn.Close()
}
