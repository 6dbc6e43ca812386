package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// brokenBodies are bodies that cannot be read to their end, with the headers that
// frame them. After each comes a request that must not run.
var brokenBodies = []struct{ name, framing, body string }{
	{"chunk line", "Transfer-Encoding: chunked", "zz\r\n"},
	{"second chunk line", "Transfer-Encoding: chunked", "3\r\nabc\r\n-1\r\n"},
	{"chunk size too large", "Transfer-Encoding: chunked", "fffffffffffffffff\r\n"},
	{"chunk without its end", "Transfer-Encoding: chunked", "3\r\nabcdef\r\n"},
	{"chunk line too long", "Transfer-Encoding: chunked", "1;" + strings.Repeat("x", 8<<10) + "\r\na\r\n0\r\n\r\n"},
	{"trailer without colon", "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n"},
	{"trailer with a space", "Transfer-Encoding: chunked\r\nTrailer: X-T", "3\r\nabc\r\n0\r\nX-T : 1\r\n\r\n"},
	{"forbidden trailer", "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n: 1\r\n\r\n"},
	{"negative chunk at once", "Transfer-Encoding: chunked", "-3\r\nabc\r\n0\r\n\r\n"},
	{"blank chunk line", "Transfer-Encoding: chunked", "\r\n"},
}

// endings is an upstream that counts complete requests by how their bodies end.
type endings struct {
	mu    sync.Mutex
	whole []string
}

func (e *endings) serve(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.whole = append(e.whole, r.Method+" "+r.URL.Path+" "+string(b))
}

func (e *endings) seen() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.whole
}

// A body that breaks is answered with 400, the connection is closed, and nothing
// after it runs.
func TestBrokenBody(t *testing.T) {
	for _, c := range brokenBodies {
		for _, route := range []string{"/", "/open", "/bound"} {
			t.Run(c.name+route, func(t *testing.T) {
				var up endings
				url := backend(t, up.serve)
				r := newRig(t, Settings{},
					Route{Path: "/", Upstreams: []string{url}},
					Route{Path: "/open", Upstreams: []string{url}, Public: true},
					Route{Path: "/bound", Upstreams: []string{url}, MaxCostPerCall: "1"})
				conn, br := r.dial()
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n\r\n%sGET /smuggled HTTP/1.1\r\nHost: x\r\n%s\r\n", route, cred, c.framing, c.body, cred)
				refusedAndClosed(t, br)
				if got := up.seen(); len(got) != 0 {
					t.Errorf("the upstream saw %q", got)
				}
			})
		}
	}
}

// A client that closes its direction early reads a 400, whether it sent a part
// of a body or was waiting for an answer.
func TestHalfClosedRequest(t *testing.T) {
	for name, send := range map[string]string{
		"short body":    "POST / HTTP/1.1\r\nHost: x\r\n" + cred + "Content-Length: 5\r\n\r\nabc",
		"short chunk":   "POST / HTTP/1.1\r\nHost: x\r\n" + cred + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"no last chunk": "POST / HTTP/1.1\r\nHost: x\r\n" + cred + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"no body":       "GET /wait HTTP/1.1\r\nHost: x\r\n" + cred + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var up endings
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{backend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/wait" {
					<-r.Context().Done()
					return
				}
				up.serve(w, r)
			})}})
			conn, br := r.dial()
			io.WriteString(conn, send)
			conn.(*net.TCPConn).CloseWrite()
			refusedAndClosed(t, br)
			if got := up.seen(); len(got) != 0 {
				t.Errorf("the upstream saw %q", got)
			}
			if o := r.log.next(t); o.Status != statusClientGone {
				t.Errorf("observed status %d", o.Status)
			}
		})
	}
}

// An answer that comes before the body has broken is passed on, but octets after the
// break never run as a request.
func TestBodyBreaksAfterTheAnswer(t *testing.T) {
	requests := make(chan string, 9)
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		requests <- req.URL.Path
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		io.Copy(io.Discard, br)
	})}})
	conn, br := r.dial()
	io.WriteString(conn, "POST /early HTTP/1.1\r\nHost: x\r\n"+cred+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	res, err := http.ReadResponse(br, nil)
	if err != nil || text(t, res) != "ok" || !res.Close {
		t.Fatalf("early answer: %+v, %v", res, err)
	}
	io.WriteString(conn, "zz\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n"+cred+"\r\n")
	if rest, _ := io.ReadAll(br); len(rest) != 0 {
		t.Errorf("after the answer: %q", rest)
	}
	if got := <-requests; got != "/early" || len(requests) != 0 {
		t.Errorf("the upstream saw %q and %d more", got, len(requests))
	}
}

func refusedAndClosed(t *testing.T, br *bufio.Reader) {
	t.Helper()
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body := text(t, res)
	if res.StatusCode != 400 || !res.Close || !strings.Contains(body, `"invalid_request"`) {
		t.Errorf("answered %d, close %v: %s", res.StatusCode, res.Close, body)
	}
	if rest, err := io.ReadAll(br); len(rest) != 0 {
		t.Errorf("after the answer: %q, %v", rest, err)
	}
}

// Over HTTP/2, a body that is shorter or longer than it announced is refused.
func TestBrokenBodyHTTP2(t *testing.T) {
	for name, sent := range map[string]string{"short": "abc", "long": "abcdefgh", "none": ""} {
		t.Run(name, func(t *testing.T) {
			var up endings
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{backend(t, up.serve)}})
			conn, br := r.dial()
			if status := http2Post(t, conn, br, "5", sent); status != "400" && status != "reset" {
				t.Errorf("answered %s", status)
			}
			if got := up.seen(); len(got) != 0 {
				t.Errorf("the upstream saw %q", got)
			}
		})
	}
}

// http2Post sends one POST that announces length, and returns the status of the
// answer, or "reset".
func http2Post(t *testing.T, conn net.Conn, br *bufio.Reader, length, body string) string {
	t.Helper()
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, br)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"},
		{"authorization", "Bearer good"}, {"content-length", length}} {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true})
	f.WriteData(1, true, []byte(body))
	for {
		switch frame, err := f.ReadFrame(); frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return "reset"
		default:
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
		}
	}
}

// A status that is none is the upstream's fault, and the process survives it.
func TestImpossibleStatus(t *testing.T) {
	for _, line := range []string{"099 X", "000 X", "001 X", "-12 X", "1000 X", "12 X", "abc X", ""} {
		up := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
			http.ReadRequest(br)
			io.WriteString(c, "HTTP/1.1 "+line+"\r\nContent-Length: 0\r\n\r\n")
		})
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
		if res := r.do("GET", "/", ""); res.StatusCode != 502 || code(t, res) != "upstream_unreachable" {
			t.Errorf("%q: status %d", line, res.StatusCode)
		}
		r.do("GET", "/", "") // still there
	}
}
