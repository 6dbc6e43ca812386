package h1

import (
	"bufio"
	"io"
	"sync"
)

// input is a buffer for reading, with the methods of [bufio.Reader]. Octets can also be
// received into it directly: see room.
type input struct {
	src  io.Reader
	buf  []byte // buf[r:w] has come and was not read
	r, w int
	err  error // of src, to be returned after those octets
}

// inputs are buffers of bufferSize octets.
var inputs = sync.Pool{New: func() any { return newInput(nil, bufferSize) }}

func newInput(src io.Reader, size int) *input { return &input{src: src, buf: make([]byte, size)} }

// release gives b to others. Nobody may use it any more.
func (b *input) release() {
	b.reset(nil)
	inputs.Put(b)
}

func (b *input) reset(src io.Reader) { b.src, b.r, b.w, b.err = src, 0, 0, nil }

// room is where octets may be put that follow those in the buffer; took says how many were.
func (b *input) room() []byte {
	b.pack()
	return b.buf[b.w:]
}

func (b *input) took(n int) { b.w += n }

// pack moves the octets to the beginning.
func (b *input) pack() {
	if b.r > 0 {
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r = 0
	}
}

// maxEmpty bounds the reads in a row that yield neither octets nor an error.
const maxEmpty = 100

// fill reads once, into a buffer that is not full.
func (b *input) fill() {
	b.pack()
	for range maxEmpty {
		n, err := b.src.Read(b.buf[b.w:])
		b.w += n
		if b.err = err; n > 0 || err != nil {
			return
		}
	}
	b.err = io.ErrNoProgress
}

// failed returns the error of src, once.
func (b *input) failed() error {
	err := b.err
	b.err = nil
	return err
}

// Buffered is the number of octets that can be read without waiting.
func (b *input) Buffered() int { return b.w - b.r }

// buffered are those octets, until the next call of a method.
func (b *input) buffered() []byte { return b.buf[b.r:b.w] }

// Peek returns the next n octets without taking them, or fewer with the error that is
// the reason.
func (b *input) Peek(n int) ([]byte, error) {
	for b.w-b.r < n && b.w-b.r < len(b.buf) && b.err == nil {
		b.fill()
	}
	switch {
	case n > len(b.buf):
		return b.buf[b.r:b.w], bufio.ErrBufferFull
	case b.w-b.r < n:
		return b.buf[b.r:b.w], b.failed()
	}
	return b.buf[b.r : b.r+n], nil
}

// discard drops n octets of those in the buffer.
func (b *input) discard(n int) { b.r += n }

// Read implements [io.Reader]. It reads from src at most once.
func (b *input) Read(p []byte) (n int, err error) {
	if b.r == b.w {
		if b.err != nil || len(p) == 0 {
			return 0, b.failed()
		}
		if len(p) >= len(b.buf) {
			return b.src.Read(p)
		}
		if b.fill(); b.r == b.w {
			return 0, b.failed()
		}
	}
	n = copy(p, b.buf[b.r:b.w])
	b.r += n
	return n, nil
}

// ReadByte implements [io.ByteReader].
func (b *input) ReadByte() (byte, error) {
	for b.r == b.w {
		if b.err != nil {
			return 0, b.failed()
		}
		b.fill()
	}
	c := b.buf[b.r]
	b.r++
	return c, nil
}

// reader is b as a [bufio.Reader], for those who take the connection over.
func (b *input) reader() *bufio.Reader {
	n := b.Buffered()
	br := bufio.NewReaderSize(b, max(bufferSize, n))
	_, _ = br.Peek(n) // they are there
	return br
}
