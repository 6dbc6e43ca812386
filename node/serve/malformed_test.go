package serve

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
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

// malformed are the requests of HTTP/2 that may be refused before a handler runs, each
// with its outcome: status and code of an answer in the form of this API, status and type
// of one that net/http writes by itself, or the error that ends the stream or connection.
// docs/reference.md lists those of net/http's own.
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
	{"a head of 512 KiB", root.with("x", strings.Repeat("x", 512<<10)), "goaway PROTOCOL_ERROR"},
}

// Each refusal of a request over HTTP/2 has the form of this API, but for those that the
// reference names as net/http's.
func TestMalformedHTTP2(t *testing.T) {
	certs := certificates(t, pair(t, t.TempDir(), time.Now(), "localhost"))
	for _, secure := range []bool{false, true} {
		c := config(nil)
		if secure {
			c = config(certs)
		}
		addr := run(t, c).Addr().String()
		for _, tt := range malformed {
			if got := outcome(t, addr, secure, tt.fields); got != tt.want {
				t.Errorf("%s, with TLS %v: %s, want %s", tt.name, secure, got, tt.want)
			}
		}
	}
}

// outcome sends one request on a connection of its own, and describes the end of it.
func outcome(t *testing.T, addr string, secure bool, fields pairs) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(conn, http2.ClientPreface)
	f.WriteSettings()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true})
	status, kind, body := "", "", ""
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return fmt.Sprintf("%s%v", status, err)
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo { // else the answer is still to come
				return "goaway " + frame.ErrCode.String()
			}
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
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
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
