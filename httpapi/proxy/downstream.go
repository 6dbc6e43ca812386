package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// downstream is the client's side of an exchange. [h1.Exchange] implements it and
// documents each method.
type downstream interface {
	Context() context.Context
	Body() io.Reader
	OnLeave(f func())
	Left() bool
	Interim(status int, f *h1.Fields)
	Begin(status int, f *h1.Fields, lines []byte, length int64)
	Write(p []byte) (int, error)
	Flush() error
	End(trailer *h1.Fields)
	SetReadDeadline(t time.Time)
	SetWriteDeadline(t time.Time)
	Hijack() (net.Conn, *bufio.Reader, error)
}

// stream is the client's side of a request that net/http serves, over HTTP/2.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	r    *http.Request
	head *h1.Request // of r
	take func()      // takes f of OnLeave back; nil if there is none
}

func newStream(w http.ResponseWriter, r *http.Request) *stream {
	return &stream{w: w, rc: http.NewResponseController(w), r: r, head: h1.RequestOf(r)}
}

func (s *stream) Context() context.Context { return s.r.Context() }

// Body is the request's body. Its trailer is the head's at the end.
func (s *stream) Body() io.Reader {
	if s.r.Body == nil || s.r.Body == http.NoBody {
		return nil
	}
	return streamBody{s}
}

type streamBody struct{ s *stream }

func (b streamBody) Read(p []byte) (int, error) {
	n, err := b.s.r.Body.Read(p)
	if err == io.EOF {
		b.s.head.Trailer = h1.FieldsOf(b.s.r.Trailer)
	}
	return n, err
}

func (s *stream) OnLeave(f func()) {
	if s.take != nil {
		s.take()
	}
	if s.take = nil; f == nil {
		return
	}
	called := make(chan struct{})
	stop := context.AfterFunc(s.r.Context(), func() {
		defer close(called)
		f()
	})
	s.take = func() {
		if !stop() {
			<-called
		}
	}
}

func (s *stream) Left() bool { return s.r.Context().Err() != nil }

func (s *stream) Interim(status int, f *h1.Fields) {
	h := s.w.Header()
	clear(h)
	s.addAll(f)
	s.w.WriteHeader(status)
	clear(h)
}

func (s *stream) addAll(f *h1.Fields) {
	h := s.w.Header()
	for name, v := range f.All() {
		h[name] = append(h[name], v)
	}
}

func (s *stream) Begin(status int, f *h1.Fields, lines []byte, length int64) {
	h := s.w.Header()
	clear(h)
	s.addAll(f)
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		if name, value, ok := strings.Cut(string(line), ": "); ok {
			h[name] = []string{value}
		}
	}
	delete(h, "Content-Length")
	if length >= 0 && status != http.StatusNoContent && status != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	s.w.WriteHeader(status)
}

func (s *stream) Write(p []byte) (int, error) { return s.w.Write(p) }

func (s *stream) Flush() error { return s.rc.Flush() }

// End sets the trailer, which is sent when the handler returns. It need not be announced.
func (s *stream) End(trailer *h1.Fields) {
	for name, v := range trailer.All() {
		s.w.Header().Add(http.TrailerPrefix+name, v)
	}
}

func (s *stream) SetReadDeadline(t time.Time)  { s.rc.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) { s.rc.SetWriteDeadline(t) }

// Hijack fails over HTTP/2, which has no Upgrade.
func (s *stream) Hijack() (net.Conn, *bufio.Reader, error) {
	nc, rw, err := s.rc.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return nc, rw.Reader, nil
}
