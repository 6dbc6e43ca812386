package serve

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// pairs are header fields of HTTP/2 in their order on the wire: name, value, name, value.
type pairs []string

// root are the pseudo-header fields of a good request.
var root = pairs{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a"}

// with appends more to a copy of p.
func (p pairs) with(more ...string) pairs { return append(append(pairs{}, p...), more...) }

// at is root with another value of one pseudo-header field, or without it.
func at(name, value string) pairs {
	var p pairs
	for i := 0; i < len(root); i += 2 {
		switch {
		case root[i] != name:
			p = append(p, root[i], root[i+1])
		case value != "":
			p = append(p, name, value)
		}
	}
	return p
}

// malformed are the requests of HTTP/2 that may be refused before a handler runs, each
// with its outcome: status and code of an answer in the form of this API, status and type
// of one that net/http writes by itself, or the error that ends the stream or connection.
// docs/reference.md lists those of net/http's own. After an answer or a reset, the
// connection must serve another request.
var malformed = []struct {
	name   string
	fields pairs
	want   string
}{
	{"a good one", root, "200"},
	{"trailers", root.with("te", "trailers"), "200"},
	{"a head of 33 KiB", root.with("x", strings.Repeat("x", maxHead+1<<10)), "431 headers_too_large"},
	{"a head of 120 KiB", root.with("x", strings.Repeat("x", 120<<10)), "431 headers_too_large"},
	{"a target of 9 KiB", pairs{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/" + strings.Repeat("a", 9<<10)}, "414 uri_too_long"},

	{"a length of nothing", root.with("content-length", "0"), "200"},
	{"a length with the end of the stream", root.with("content-length", "5"), "400 invalid_request"},
	{"two lengths", root.with("content-length", "0", "content-length", "5"), "400 invalid_request"},
	{"a length that is none", root.with("content-length", "x"), "400 invalid_request"},
	{"another scheme than the connection has", at(":scheme", "http"), "200"},
	{"an absolute path", at(":path", "https://a/"), "400 invalid_request"},
	{"an absolute path of another host", at(":path", "https://b/"), "400 invalid_request"},
	{"a path of another scheme", at(":path", "mailto:a"), "400 invalid_request"},
	{"an asterisk", at(":path", "*"), "400 invalid_request"},
	{"a fragment", at(":path", "/#a"), "400 invalid_request"},
	{"a space in the path", at(":path", "/a b"), "400 invalid_request"},
	{"no ASCII in the path", at(":path", "/\xc3\xa4"), "400 invalid_request"},
	{"two slashes", at(":path", "//b/"), "200"},
	{"no authority", at(":authority", ""), "400 invalid_request"},
	{"host in its place", at(":authority", "").with("host", "a"), "200"},
	{"a host that is none in its place", at(":authority", "").with("host", "a/b"), "400 invalid_request"},
	{"a space in the authority", at(":authority", "a b"), "400 invalid_request"},
	{"a path in the authority", at(":authority", "a/b"), "400 invalid_request"},
	{"a port that is none", at(":authority", "a:65536"), "400 invalid_request"},
	{"the same host", root.with("host", "A"), "200"},
	{"another host", root.with("host", "b"), "400 invalid_request"},
	{"another port", root.with("host", "a:81"), "400 invalid_request"},
	{"two hosts", root.with("host", "a", "host", "a"), "400 invalid_request"},
	{"a method that is no token", at(":method", "GE T"), "400 invalid_request"},
	{"two types", root.with("content-type", "a/b", "content-type", "c/d"), "400 invalid_request"},
	{"an expectation", root.with("expect", "100-continue"), "200"},
	{"an unknown expectation", root.with("expect", "200-ok"), "417 expectation_failed"},
	{"connect without a port", pairs{":method", "CONNECT", ":authority", "a"}, "400 invalid_request"},

	{"connection", root.with("connection", "keep-alive"), "400 text/plain"},
	{"keep-alive", root.with("keep-alive", "timeout=5"), "400 text/plain"},
	{"proxy-connection", root.with("proxy-connection", "keep-alive"), "400 text/plain"},
	{"transfer-encoding", root.with("transfer-encoding", "chunked"), "400 text/plain"},
	{"upgrade", root.with("upgrade", "websocket"), "400 text/plain"},
	{"te", root.with("te", "gzip"), "400 text/plain"},
	{"two of te", root.with("te", "trailers", "te", "trailers"), "400 text/plain"},
	{"a head of 126 KiB", root.with("x", strings.Repeat("x", 63<<10), "y", strings.Repeat("y", 63<<10)), "431 text/html"},

	{"no method", pairs{":scheme", "https", ":path", "/", ":authority", "a"}, "reset PROTOCOL_ERROR"},
	{"no path", pairs{":method", "GET", ":scheme", "https", ":authority", "a"}, "reset PROTOCOL_ERROR"},
	{"no scheme", pairs{":method", "GET", ":path", "/", ":authority", "a"}, "reset PROTOCOL_ERROR"},
	{"another scheme", pairs{":method", "GET", ":scheme", "ftp", ":path", "/", ":authority", "a"}, "reset PROTOCOL_ERROR"},
	{"a path that is none", pairs{":method", "GET", ":scheme", "https", ":path", "a b", ":authority", "a"}, "reset PROTOCOL_ERROR"},
	{"userinfo", pairs{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "u@a"}, "reset PROTOCOL_ERROR"},
	{"connect with a path", pairs{":method", "CONNECT", ":scheme", "https", ":path", "/", ":authority", "a"}, "reset PROTOCOL_ERROR"},
	{"extended connect", root.with(":protocol", "websocket"), "reset PROTOCOL_ERROR"},
	{"two methods", root.with(":method", "GET"), "reset PROTOCOL_ERROR"},
	{"an unknown pseudo-header field", root.with(":x", "y"), "reset PROTOCOL_ERROR"},
	{"a status", root.with(":status", "200"), "reset PROTOCOL_ERROR"},
	{"a pseudo-header field after others", pairs{":method", "GET", ":scheme", "https", "x", "y", ":path", "/"}, "reset PROTOCOL_ERROR"},
	{"a name in capitals", root.with("X", "y"), "reset PROTOCOL_ERROR"},
	{"a control character", root.with("x", "a\x00b"), "reset PROTOCOL_ERROR"},
	{"a field of 126 KiB", root.with("x", strings.Repeat("x", 126<<10)), "goaway COMPRESSION_ERROR"},
	{"a head of 512 KiB", root.with("x", strings.Repeat("x", 512<<10)), "goaway FRAME_SIZE_ERROR"},
}

// Each refusal of a request over HTTP/2 has the form of this API, but for those that the
// reference names as net/http's. No handler sees the request, and unless it broke the
// frames or the compression of heads, its connection lives.
func TestMalformedHTTP2(t *testing.T) {
	certs := certificates(t, pair(t, t.TempDir(), time.Now(), "localhost"))
	for _, secure := range []bool{false, true} {
		c := config(nil)
		if secure {
			c = config(certs)
		}
		served := 0 // one request at a time
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if served++; r.URL.IsAbs() || r.Header["Host"] != nil || (r.TLS != nil) != secure {
				t.Errorf("the handler gets %q with TLS %v, header %q", r.URL, r.TLS != nil, r.Header)
			}
		})
		s := run(t, c)
		want := 0
		for _, tt := range malformed {
			if tt.want == "200" {
				want++
			}
			if !strings.HasPrefix(tt.want, "goaway") {
				want++ // the request after it
			}
			if got := outcome(t, s.Addr().String(), secure, tt.fields); got != tt.want {
				t.Errorf("%s, with TLS %v: %s, want %s", tt.name, secure, got, tt.want)
			}
		}
		if served != want {
			t.Errorf("TLS %v: the handler saw %d requests, want %d", secure, served, want)
		}
		for reason, n := range map[string]float64{"content_length": 3, "target": 8, "host": 8, "method": 1, "content_type": 1, "expect": 1} {
			if got := counted(t, s, "perfgate_listener_malformed_requests_total")[reason]; got != n {
				t.Errorf("TLS %v: %s is counted %v times, want %v", secure, reason, got, n)
			}
		}
	}
}

// outcome sends one request on a connection of its own, and describes the end of it. If
// that is the end of the stream alone, a second request must be answered.
func outcome(t *testing.T, addr string, secure bool, fields pairs) string {
	t.Helper()
	c := dialHTTP2(t, addr, secure)
	defer c.Close()
	got := c.exchange(1, fields)
	if strings.HasPrefix(got, "goaway") {
		return got
	}
	if after := c.exchange(3, root); after != "200" {
		got += ", and then " + after
	}
	return got
}

// framed is a client of HTTP/2 that writes what it is told to.
type framed struct {
	net.Conn
	*http2.Framer
	head bytes.Buffer
	enc  *hpack.Encoder
}

// dialHTTP2 makes a connection and sends the preface.
func dialHTTP2(t *testing.T, addr string, secure bool) *framed {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	c := &framed{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	c.enc = hpack.NewEncoder(&c.head)
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(conn, http2.ClientPreface)
	c.WriteSettings()
	return c
}

// encode is a head.
func (c *framed) encode(fields pairs) []byte {
	c.head.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return c.head.Bytes()
}

// begin sends a head in one frame.
func (c *framed) begin(stream uint32, fields pairs, last bool) error {
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.encode(fields), EndStream: last, EndHeaders: true})
}

// exchange sends a request without a body and describes the end of its stream.
func (c *framed) exchange(stream uint32, fields pairs) string {
	c.begin(stream, fields, true)
	return c.end(stream)
}

// end describes the end of a stream.
func (c *framed) end(stream uint32) string {
	status, kind, body := "", "", ""
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return fmt.Sprintf("%s%v", status, err)
		}
		if frame, ok := frame.(*http2.GoAwayFrame); ok {
			return "goaway " + frame.ErrCode.String()
		}
		if frame.Header().StreamID != stream {
			continue
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			return "reset " + frame.ErrCode.String()
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
			for _, h := range frame.RegularFields() {
				if h.Name == "content-type" {
					kind, _, _ = strings.Cut(h.Value, ";")
				}
			}
		case *http2.DataFrame:
			body += string(frame.Data())
		}
		if flags := frame.Header().Flags; frame.Header().Type != http2.FrameRSTStream && flags.Has(http2.FlagDataEndStream) {
			return answered(status, kind, body)
		}
	}
}

// answered describes a whole answer.
func answered(status, kind, body string) string {
	var doc struct {
		Error struct {
			Code string `json:"code"`
			ID   string `json:"request_id"`
		} `json:"error"`
	}
	switch {
	case status == "200":
		return status
	case kind == "application/json" && json.Unmarshal([]byte(body), &doc) == nil && doc.Error.ID != "":
		return status + " " + doc.Error.Code
	}
	return status + " " + kind
}
