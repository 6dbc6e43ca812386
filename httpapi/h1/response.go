package h1

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// holdBytes is the content that is held back before the head is sent: a shorter answer
// gets a Content-Length.
const holdBytes = 2 << 10

var holders = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, holdBytes) }}

// The framings of content.
const (
	undecided  uint8 = iota
	none             // there is no content: HEAD, 1xx, 204, 205, 304
	withLength       // as many octets as were declared
	inChunks
	untilClose
	chunksEnded // in chunks, and the last one is written
)

// response is the answer to one request. The handler's goroutine owns every field that
// has no other owner stated. It implements the interfaces of [http.ResponseController].
type response struct {
	c      *conn
	req    *Request
	r      *http.Request // req for a handler; nil for Server.Lane
	body   *body         // of the request; nil if there is none
	cancel func()
	header http.Header // of a handler
	fields *Fields     // of the head, for Server.Lane; nil for a handler
	close  bool        // the connection ends after the answer

	mu     sync.Mutex // held while an interim answer is written, and when the final one begins
	expect bool       // the client waits for a 100; guarded by mu

	status   int   // of the final answer; 0 until its head is written
	length   int64 // of the content, as declared; -1 is not declared
	written  int64 // octets of content so far
	framing  uint8
	held     *bufio.Writer // content before its framing is decided, and that of the next chunk; nil until it is needed
	trailers []string      // that the handler has announced
	hijacked bool
}

// newResponse is the answer to q, which r is for a handler.
func newResponse(c *conn, q *Request, r *http.Request, cancel func()) *response {
	w := &response{r: r, header: http.Header{}}
	w.init(c, q, cancel)
	if w.body != nil {
		r.Body = w.body
	}
	return w
}

func (w *response) init(c *conn, q *Request, cancel func()) {
	w.c, w.req, w.cancel, w.close, w.expect, w.length = c, q, cancel, q.close, q.expect, -1
	if q.Length != 0 {
		w.body = &body{w: w, chunks: chunkedReader{br: c.br}}
		w.body.left.Store(q.Length)
	}
}

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *response) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic("h1: a status must have three digits")
	case w.hijacked || w.status != 0:
		w.c.server.logger().Warn("an answer was begun twice", "addr", w.c.remote, "status", status)
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		f := FieldsOf(w.header)
		w.writeInterim(status, &f)
		return
	}
	w.mu.Lock()
	if w.expect { // the client may send the body or leave it out: nobody can tell
		w.expect, w.close = false, true
	}
	w.status = status
	w.mu.Unlock()
	w.begin()
}

// writeInterim writes an answer of status 1xx, which HTTP/1.0 does not know. A 100 is left
// to sendContinue, which knows whether the client still waits for it.
func (w *response) writeInterim(status int, f *Fields) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if status == http.StatusContinue || w.req.Minor == 0 {
		return
	}
	bw := w.c.bw
	writeStatus(bw, status)
	for name, v := range f.All() {
		if !framesMessage(name) && isToken(name) {
			writeField(bw, name, v)
		}
	}
	bw.WriteString("\r\n")
	_ = bw.Flush() // an error stays and is found at the final answer
}

// sendContinue tells a client that waits for it to send the body, unless some of it is
// there already.
func (w *response) sendContinue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.expect {
		return
	}
	w.expect = false
	if w.c.br.Buffered() == 0 {
		w.c.bw.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
		_ = w.c.bw.Flush() // an error stays
	}
}

// Write implements [io.Writer].
func (w *response) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n := int64(len(p))
	switch {
	case n == 0:
		return 0, nil
	case w.status == http.StatusResetContent:
		return len(p), nil
	case !mayHaveContent(w.status):
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+n > w.length:
		return 0, http.ErrContentLength
	}
	w.written += n
	switch {
	case w.req.Method == http.MethodHead:
		return len(p), nil
	case w.length >= 0:
		return w.c.bw.Write(p)
	case w.held == nil:
		w.held = holders.Get().(*bufio.Writer)
		w.held.Reset(contentWriter{w})
	}
	return w.held.Write(p)
}

// contentWriter writes content of a length that was not declared.
type contentWriter struct{ w *response }

func (cw contentWriter) Write(p []byte) (int, error) {
	w := cw.w
	w.decide()
	if w.framing == inChunks {
		return chunkedWriter{w.c.bw}.Write(p)
	}
	return w.c.bw.Write(p)
}

// FlushError sends what was written so far.
func (w *response) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.decide()
	if w.held != nil {
		if err := w.held.Flush(); err != nil {
			return err
		}
	}
	return w.c.bw.Flush()
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() }

// finish completes the answer and reports whether the client can take it for whole.
func (w *response) finish() bool {
	switch {
	case w.status != 0:
	case w.r == nil:
		return false // Server.Lane says what it answers
	default:
		w.WriteHeader(http.StatusOK)
	}
	if w.framing == undecided {
		w.decideAll()
	}
	if w.held != nil {
		_ = w.held.Flush() // an error stays in the connection's buffer
		w.held.Reset(nil)
		holders.Put(w.held)
		w.held = nil
	}
	if w.framing == inChunks {
		trailer := w.trailer()
		_ = chunkedWriter{w.c.bw}.end(&trailer) // as above
	}
	return w.c.bw.Flush() == nil && (w.framing != withLength || w.written == w.length)
}

// EnableFullDuplex has nothing to do: a request's body can always be read during the
// answer.
func (w *response) EnableFullDuplex() error { return nil }

// SetReadDeadline sets the deadline of reads of the request's body.
func (w *response) SetReadDeadline(t time.Time) error {
	w.c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline sets the deadline of writes of the answer.
func (w *response) SetWriteDeadline(t time.Time) error { return w.c.out.setDeadline(t) }

// errBodyLeft refuses to hijack a connection whose next octets are a body's.
var errBodyLeft = errors.New("h1: the body of the request was not read to its end")

// Hijack implements [http.Hijacker]. The reader holds octets that came after the
// request.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch {
	case w.hijacked:
		return nil, nil, http.ErrHijacked
	case w.body != nil && w.body.state.Load() != bodyWhole:
		return nil, nil, errBodyLeft
	}
	if w.status != 0 {
		if err := w.FlushError(); err != nil {
			return nil, nil, err
		}
	}
	c := w.c
	if c.onLoop() {
		c.task.Leave()
	}
	c.in.unwatch()
	c.nc.SetDeadline(time.Time{})
	if c.in.has {
		_, _ = c.br.Peek(c.br.Buffered() + 1) // takes the octet that came meanwhile
	}
	br := c.br
	c.bw.Reset(nil)
	writers.Put(c.bw)
	c.br, c.bw, c.gone, w.hijacked = nil, nil, true, true
	c.hook(http.StateHijacked)
	c.server.forget(c)
	return c.nc, bufio.NewReadWriter(br.reader(), bufio.NewWriter(c.nc)), nil
}
