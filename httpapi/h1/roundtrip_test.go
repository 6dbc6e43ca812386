package h1

import (
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"testing"
)

// RoundTrip implements [http.RoundTripper], so that tests compare the client with
// net/http's. Of the hooks of a trace, it calls those for connections and interim answers.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x, err := callOf(req)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	a, err := t.Do(req.Context(), x)
	if err != nil {
		return nil, err
	}
	res := a.response(req)
	if secure, ok := x.conn.Conn.(*tls.Conn); ok {
		state := secure.ConnectionState()
		res.TLS = &state
	}
	if a.Body != http.NoBody && a.Status != http.StatusSwitchingProtocols {
		res.Body = trailed{a, res}
	}
	return res, nil
}

// trailed fills the trailer of res at the end.
type trailed struct {
	a   *Answer
	res *http.Response
}

func (b trailed) Read(p []byte) (int, error) {
	n, err := b.a.Body.Read(p)
	if err == io.EOF {
		addTrailer(b.res, &b.a.Trailer)
	}
	return n, err
}

func (b trailed) Close() error { return b.a.Body.Close() }

func callOf(req *http.Request) (*Call, error) {
	if req.URL == nil {
		return nil, unsendable("it has no URL")
	}
	target, err := TargetOf(req.URL)
	if err != nil {
		return nil, err
	}
	host, err := HostOf(cmp.Or(req.Host, req.URL.Host))
	if err != nil {
		return nil, err
	}
	fields := &Fields{}
	for name, values := range req.Header {
		if name == "User-Agent" && len(values) > 1 {
			values = values[:1]
		}
		for _, v := range values {
			fields.Add(name, v)
		}
	}
	x := &Call{Target: target, Method: req.Method, Path: req.URL.RequestURI(), Host: host, Fields: fields, Close: req.Close}
	if req.Body != nil && req.Body != http.NoBody {
		x.Body, x.Length, x.Unsure = req.Body, req.ContentLength, len(req.TransferEncoding) == 0
		if x.Length == 0 || !x.Unsure {
			x.Length = -1
		}
	}
	for name := range req.Trailer {
		x.Announced = append(x.Announced, name)
	}
	if x.Length < 0 && req.Trailer != nil {
		x.Trailer = &Fields{}
		x.Body = trailing{x.Body, req.Trailer, x.Trailer}
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
		if trace.GotConn != nil {
			x.Connected = func(c net.Conn, reused bool) { trace.GotConn(httptrace.GotConnInfo{Conn: c, Reused: reused}) }
		}
		if trace.Got1xxResponse != nil {
			x.Interim = func(status int, f *Fields) error {
				return trace.Got1xxResponse(status, textproto.MIMEHeader(f.Header()))
			}
		}
	}
	return x, nil
}

// trailing takes the trailer that a request has at the end of its body.
type trailing struct {
	io.ReadCloser
	from http.Header
	to   *Fields
}

func (b trailing) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		*b.to = FieldsOf(b.from)
	}
	return n, err
}

func (b trailing) Buffered() int {
	if r, ok := b.ReadCloser.(interface{ Buffered() int }); ok {
		return r.Buffered()
	}
	return 0
}

// response is a for net/http.
func (a *Answer) response(req *http.Request) *http.Response {
	res := &http.Response{
		Request: req, Status: strconv.Itoa(a.Status) + " " + a.Reason, StatusCode: a.Status, Proto: "HTTP/1." + strconv.Itoa(a.Minor), ProtoMajor: 1, ProtoMinor: a.Minor,
		Header: a.Fields.Header(), ContentLength: a.Length, Close: a.Close, Body: a.Body,
	}
	if a.Chunked {
		res.TransferEncoding = chunkedOnly
	}
	for _, name := range a.Announced {
		if res.Trailer == nil {
			res.Trailer = http.Header{}
		}
		res.Trailer[name] = nil
	}
	return res
}

func addTrailer(res *http.Response, f *Fields) {
	for name, values := range f.Header() {
		if res.Trailer == nil {
			res.Trailer = http.Header{}
		}
		res.Trailer[name] = values
	}
}

// readResponse reads the head of one answer.
func readResponse(br *input, req *http.Request, max int) (*http.Response, framing, error) {
	var a Answer
	f, err := a.read(br, req.Method, max)
	if err != nil {
		return nil, 0, err
	}
	return a.response(req), f, nil
}

// parseFields takes a section with its last line apart.
func parseFields(t testing.TB, text string) http.Header {
	t.Helper()
	return fieldsOf(t, text).Header()
}

func fieldsOf(t testing.TB, text string) *Fields {
	t.Helper()
	p := []byte(text)
	canonicalize(p, true)
	f := new(Fields)
	f.parse(string(p))
	return f
}
