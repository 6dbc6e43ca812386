package h1

import (
	"io"
	"net/http"
	"sync/atomic"
)

// answerBody is the body of an answer. Its end gives the connection back, Close before
// that ends the connection, so that nobody waits for octets that nobody needs.
type answerBody struct {
	call *Call
	from io.Reader   // one of the two below, or the connection
	err  error       // that ended it; of the reader's goroutine
	over atomic.Bool // the call has ended: by the reader, or by Close

	length lengthReader
	chunks chunkedReader
}

func (b *answerBody) init(x *Call, f framing) {
	b.call, b.from = x, x.conn.br
	switch f {
	case byLength:
		b.length = lengthReader{br: x.conn.br, left: x.answer.Length}
		b.from = &b.length
	case byChunks:
		b.chunks = chunkedReader{br: x.conn.br}
		b.from = &b.chunks
	}
}

func (b *answerBody) reset() {
	b.call, b.from, b.err, b.length, b.chunks = nil, nil, nil, lengthReader{}, chunkedReader{}
	b.over.Store(false)
}

// Buffered is the number of octets that have been received and not been read, framing
// included.
func (b *answerBody) Buffered() int {
	if b.over.Load() {
		return 0
	}
	return b.call.conn.br.Buffered()
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
		b.call.answer.takeTrailer(&b.chunks.trailer)
		if b.over.CompareAndSwap(false, true) {
			b.call.over(!b.call.answer.Close)
		}
		return n, err
	}
	b.err = b.call.explain(ofResponse(err))
	if b.over.CompareAndSwap(false, true) {
		b.call.drop()
	}
	return n, b.err
}

// Next are the octets of a body of known length that have been received and not been read.
// They are valid until the next call of a method.
func (b *answerBody) Next() []byte {
	if b.length.br == nil || b.err != nil || b.over.Load() {
		return nil
	}
	p := b.length.br.buffered()
	return p[:min(int64(len(p)), b.length.left)]
}

// Skip takes n octets of those, and returns io.EOF if they were the last ones.
func (b *answerBody) Skip(n int) error {
	b.length.br.discard(n)
	if b.length.left -= int64(n); b.length.left > 0 {
		return nil
	}
	_, err := b.Read(nil)
	return err
}

// Close implements [io.Closer]. It may be called while Read waits, and ends that.
func (b *answerBody) Close() error {
	if b.over.CompareAndSwap(false, true) {
		b.call.drop()
	}
	return nil
}

// tunnel is the connection of a call after a 101, for another protocol.
type tunnel struct{ call *Call }

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

// lengthReader reads left octets. An end that comes early is io.ErrUnexpectedEOF.
type lengthReader struct {
	br   *input
	left int64
}

// Read implements [io.Reader]. The last octets come with io.EOF.
func (r *lengthReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.br.Read(p[:min(int64(len(p)), r.left)])
	switch r.left -= int64(n); {
	case r.left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
