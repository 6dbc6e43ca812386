package serve

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// plainListener replaces the refusals that net/http writes by itself on a plaintext
// connection, before any handler runs, with answers of this API: with a request id
// and a code.
type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &plainConn{Conn: c}, nil
}

// plainConn looks at the first write only. There a refusal of net/http's cannot be
// confused with another answer: a handler's has more fields, and a body comes
// later. On a connection that has served a request before, net/http's refusals stay.
type plainConn struct {
	net.Conn
	begun bool // the first write has happened; writes come one after the other
}

func (c *plainConn) Write(p []byte) (int, error) {
	if c.begun {
		return c.Conn.Write(p)
	}
	c.begun = true
	own := refusalOf(p)
	if own == nil {
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write(own); err != nil {
		return 0, err
	}
	return len(p), nil
}

// cannedFields follow the status line of each refusal that net/http writes.
const cannedFields = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// refusalOf is the answer in place of p, nil unless p is a refusal of net/http's.
func refusalOf(p []byte) []byte {
	if bytes.HasPrefix(p, []byte("HTTP/1.1 417 ")) && !bytes.Contains(bytes.ToLower(p), []byte("\r\nx-request-id:")) {
		return answerOf(fault.Newf(fault.InvalidRequest, "Expect: only 100-continue is supported."))
	}
	line, _, found := bytes.Cut(p, []byte(cannedFields))
	if !found || bytes.IndexByte(line, '\n') >= 0 || len(line) < len("HTTP/1.1 400") {
		return nil
	}
	var code fault.Code
	switch string(line[:len("HTTP/1.1 400")]) {
	case "HTTP/1.1 400":
		code = fault.InvalidRequest
	case "HTTP/1.1 431":
		code = fault.HeadersTooLarge
	case "HTTP/1.1 501":
		code = fault.NotImplemented
	case "HTTP/1.1 505":
		code = fault.HTTPVersion
	default:
		return nil
	}
	return answerOf(fault.New(code))
}

// answerOf is the whole answer with f, after which the connection ends.
func answerOf(f *fault.Error) []byte {
	r := &http.Request{Header: http.Header{}}
	a := &written{header: http.Header{}}
	a.header.Set(fault.RequestIDHeader, admit.RequestID(r))
	admit.WriteFault(a, r, f)
	a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	var out bytes.Buffer
	resp := http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: a.header, Close: true,
		ContentLength: int64(a.body.Len()), Body: io.NopCloser(&a.body),
	}
	if err := resp.Write(&out); err != nil {
		return nil // not of a buffer
	}
	return out.Bytes()
}

// written is an answer in memory.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *written) Header() http.Header         { return w.header }
func (w *written) WriteHeader(status int)      { w.status = status }
func (w *written) Write(p []byte) (int, error) { return w.body.Write(p) }
