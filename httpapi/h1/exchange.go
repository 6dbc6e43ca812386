package h1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Exchange is a request with its answer, for [Server.Lane]. It must not be used after the
// function that serves it has returned, except by OnLeave's f. Its methods are for one
// goroutine, except for Body's and those of deadlines.
type Exchange struct {
	w response

	mu    sync.Mutex // guards the fields below
	left  bool
	leave func() // nil: nobody wants to know
}

// item is a request with its exchange. Connections have none while they wait, so the same
// few of them are used again, which are in the processor's cache.
type item struct {
	req Request
	x   Exchange
}

var items = sync.Pool{New: func() any { return new(item) }}

// release gives it to another request. Nobody may know it any more.
func (it *item) release() {
	it.req.reset(nil) // its text may go
	it.x.w.c, it.x.w.fields = nil, nil
	items.Put(it)
}

// answerLane is answerHandler without net/http's types.
func (c *conn) answerLane(it *item, serve func(*Exchange)) bool {
	x := &it.x
	x.reset(c, &it.req)
	c.begin(&x.w)
	ok := c.runLane(x, serve)
	x.OnLeave(nil)
	alone := x.w.body == nil // else a goroutine that reads it may know it
	if !c.complete(&x.w, ok) {
		return false
	}
	if alone {
		it.release()
	}
	return true
}

func (c *conn) runLane(x *Exchange, serve func(*Exchange)) bool {
	return c.run(&x.w, func() { serve(x) })
}

// reset prepares x for another request.
func (x *Exchange) reset(c *conn, q *Request) {
	x.mu.Lock()
	x.left, x.leave = false, nil
	x.mu.Unlock()
	w := &x.w
	w.body, w.status, w.written, w.framing, w.trailers, w.hijacked = nil, 0, 0, undecided, nil, false
	w.fields = nil
	w.init(c, q, w.cancel)
	if w.cancel == nil {
		w.cancel = x.clientLeft
	}
}

// clientLeft is called when the client leaves, and at the end of the exchange.
func (x *Exchange) clientLeft() {
	x.mu.Lock()
	defer x.mu.Unlock() // so that OnLeave waits for the end of a call
	if leave := x.leave; leave != nil {
		leave()
	}
	x.left, x.leave = true, nil
}

// OnLeave has f called, once, when the client leaves before the end of its answer: soon
// after it has closed the connection, or when a read or write has failed. f may be called
// at once, and by another goroutine, and must not call the exchange. nil takes f back: f
// does not run any more when OnLeave returns.
func (x *Exchange) OnLeave(f func()) {
	x.mu.Lock()
	left := x.left
	if !left {
		x.leave = f
	}
	x.mu.Unlock()
	if left && f != nil {
		f()
	}
}

// Left reports whether the client has left.
func (x *Exchange) Left() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.left
}

// Request is the head of the request.
func (x *Exchange) Request() *Request { return x.w.req }

// Context is that of the connection: it has its values, and ends with it.
func (x *Exchange) Context() context.Context { return x.w.c.ctx }

// Body is the request's body; nil if there is none. One goroutine may read it at a time,
// also during the answer.
func (x *Exchange) Body() io.Reader {
	if x.w.body == nil {
		return nil
	}
	return x.w.body
}

// Interim sends an answer of status 1xx, unless it is a 100, which is sent when the body is
// read, or the client speaks HTTP/1.0.
func (x *Exchange) Interim(status int, f *Fields) { x.w.writeInterim(status, f) }

// Begin begins the answer with the head's fields, and with lines, which end in CRLF each
// and are sent as they are. length is that of the content, -1 if it is not known. Fields
// that frame the message are left out; of Connection, "close" ends the connection, and
// Trailer announces names. f must stay as it is until the answer ends.
func (x *Exchange) Begin(status int, f *Fields, lines []byte, length int64) {
	w := &x.w
	w.mu.Lock()
	if w.expect { // the client may send the body or leave it out: nobody can tell
		w.expect, w.close = false, true
	}
	w.status = status
	w.mu.Unlock()
	w.fields, w.length = f, length
	bw := w.c.bw
	writeStatus(bw, status)
	for i, name := range f.names {
		switch {
		case name == "Trailer":
			for _, name := range announced(f.values[i : i+1]) {
				if mayTrail(name) {
					w.trailers = append(w.trailers, name)
				}
			}
		case !framesMessage(name):
			writeField(bw, name, f.values[i])
		}
	}
	bw.Write(lines)
	w.decide()
}

// Write sends content.
func (x *Exchange) Write(p []byte) (int, error) {
	w := &x.w
	n := int64(len(p))
	switch {
	case n == 0, w.framing == none:
		return len(p), nil
	case w.length >= 0 && w.written+n > w.length:
		return 0, http.ErrContentLength
	}
	w.written += n
	if w.framing == inChunks {
		return chunkedWriter{w.c.bw}.Write(p)
	}
	return w.c.out.send(w.c.bw, p)
}

// Flush sends what was written.
func (x *Exchange) Flush() error { return x.w.c.bw.Flush() }

// End sends the trailer's fields, if the content has no known length, and completes the
// answer. Without it the answer ends without a trailer.
func (x *Exchange) End(trailer *Fields) {
	w := &x.w
	if w.framing != inChunks {
		return
	}
	w.framing = chunksEnded
	w.c.bw.WriteString("0\r\n")
	for name, v := range trailer.All() {
		if mayTrail(name) {
			writeField(w.c.bw, name, v)
		}
	}
	w.c.bw.WriteString("\r\n")
}

// SetReadDeadline sets the deadline of reads of the body.
func (x *Exchange) SetReadDeadline(t time.Time) { x.w.c.in.setDeadline(t) }

// SetWriteDeadline sets the deadline of writes of the answer. It fails on a closed
// connection only, and so does the write after it.
func (x *Exchange) SetWriteDeadline(t time.Time) { _ = x.w.c.out.setDeadline(t) }

// Hijack gives the connection to the caller, with octets that came after the request.
func (x *Exchange) Hijack() (net.Conn, *bufio.Reader, error) {
	nc, rw, err := x.w.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return nc, rw.Reader, nil
}
