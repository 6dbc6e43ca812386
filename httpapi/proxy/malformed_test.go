package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// field is a header field of HTTP/2, pseudo-headers included.
type field [2]string

// frames sends one request over HTTP/2 as it stands, which no client of net/http would,
// and returns the status of the answer, or "reset". The fields come after those of a
// GET of / with the good key, and replace them by name. Without a body, the head ends
// the stream.
func (r *rig) frames(body string, fields ...field) string {
	r.t.Helper()
	conn, br := r.dial()
	defer conn.Close()
	return exchangeFrames(r.t, conn, br, body, fields)
}

func exchangeFrames(t *testing.T, conn net.Conn, br *bufio.Reader, body string, fields []field) string {
	t.Helper()
	given := map[string]bool{}
	for _, f := range fields {
		given[f[0]] = true
	}
	var all []field
	for _, f := range []field{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}, {"authorization", "Bearer good"}} {
		if !given[f[0]] {
			all = append(all, f)
		}
	}
	for _, pseudo := range []bool{true, false} {
		for _, f := range fields {
			if strings.HasPrefix(f[0], ":") == pseudo {
				if pseudo {
					all = append([]field{f}, all...)
				} else {
					all = append(all, f)
				}
			}
		}
	}
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, br)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, h := range all {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		f.WriteData(1, true, []byte(body))
	}
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

// blameless fails the test if the upstream was tried or its health has changed.
func (r *rig) blameless(path string, tried *atomic.Int64) {
	r.t.Helper()
	if n := tried.Load(); n != 0 {
		r.t.Errorf("the upstream was asked %d times", n)
	}
	for _, l := range r.live.Load().lanes {
		for _, u := range l.upstreams {
			if n := u.failures.Load(); n != 0 || u.isDown() {
				r.t.Errorf("route %s%s: %d failures are counted, down %v", path, l.route.rule.Route, n, u.isDown())
			}
		}
	}
}

// A method or a target that HTTP/2 carries and HTTP/1.1 could not is the client's fault:
// no upstream is tried, and none is taken for down.
func TestMalformedRequestLinesOverHTTP2(t *testing.T) {
	var tried atomic.Int64
	up := backend(t, func(http.ResponseWriter, *http.Request) { tried.Add(1) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Public: true})
	var cases []field
	for _, method := range []string{"GE T", "G@T", "GET/", "(", "\xc3\xa9", "G\tT", "GET\x7f", `"`} {
		cases = append(cases, field{":method", method})
	}
	for c := range strings.SplitSeq("\x00 \t \x01 \x1f \x7f \x80 \xff \" < > ^ ` { | } \\", " ") {
		cases = append(cases, field{":path", "/a" + c + "b"}, field{":path", "/a?b=" + c + "c"}, field{":path", "/?" + c})
	}
	cases = append(cases, field{":path", "/a b"}, field{":path", "/?a b"}, field{":path", "/ HTTP/1.1\r\nX: y"}, field{":path", "/?a HTTP/1.1"}, field{":path", "/?\xc3\xa4"})
	for _, c := range cases {
		for range failuresToEject {
			if status := r.frames("", c); status != "400" && status != "reset" {
				t.Errorf("%q: status %s", c, status)
			}
		}
	}
	r.blameless("", &tried)
	for _, path := range []string{"/a-._~:@!$&'()*+,;=%41?b=[]/?:@%zz%", "/%20?%22"} {
		if status := r.frames("", field{":path", path}); status != "200" {
			t.Errorf("%q: status %s", path, status)
		}
	}
	if n := tried.Load(); n != 2 {
		t.Errorf("the upstream saw %d sound requests", n)
	}
}

// A name that no trailer may have is refused before the upstream is asked, over both
// protocols.
func TestMalformedTrailerNames(t *testing.T) {
	var tried atomic.Int64
	up := backend(t, func(http.ResponseWriter, *http.Request) { tried.Add(1) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Public: true})
	for _, name := range []string{"X(A", "X A", "A:B", `"x"`, "\xc3\xa9", "X-A, B@", "Host"} {
		for range failuresToEject {
			res := r.raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: " + name + "\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
			if res.StatusCode != 400 {
				t.Errorf("%q: status %d", name, res.StatusCode)
			}
			if status := r.frames("abc", field{":method", "POST"}, field{"trailer", name}); status != "400" {
				t.Errorf("%q over HTTP/2: status %s", name, status)
			}
		}
	}
	r.blameless("", &tried)
}

// Over HTTP/2, a Content-Length that is none, or is not that of the body, is refused.
func TestLengthsOverHTTP2(t *testing.T) {
	var tried atomic.Int64
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { tried.Add(1); io.Copy(w, r.Body) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}}, Route{Path: "/bound", Upstreams: []string{up}, MaxCostPerCall: "1"},
		Route{Path: "/open", Upstreams: []string{up}, Public: true})
	for _, path := range []string{"/", "/bound", "/open"} {
		for _, c := range []struct {
			body    string
			lengths []string
		}{
			{"", []string{"5"}}, {"", []string{"x"}}, {"", []string{"0", "5"}}, {"", []string{"5", "5"}}, {"{}", []string{"2", "3"}}, {"{}", []string{"3", "2"}}, {"{}", []string{"2", "02"}},
			{"{}", []string{"x"}}, {"{}", []string{"+2"}}, {"{}", []string{"-2"}}, {"{}", []string{""}}, {"{}", []string{"2, 2"}}, {"{}", []string{"99999999999999999999"}},
		} {
			fields := []field{{":method", "POST"}, {":path", path}}
			for _, l := range c.lengths {
				fields = append(fields, field{"content-length", l})
			}
			// net/http resets a stream with octets beyond the length, which it takes for 0 if it is no number.
			if status := r.frames(c.body, fields...); status != "400" && (c.body == "" || status != "reset") {
				t.Errorf("%s with the body %q and the lengths %q: status %s", path, c.body, c.lengths, status)
			}
		}
	}
	r.blameless("", &tried)
	for _, c := range []struct{ body, length string }{{"", "0"}, {"{}", "2"}} {
		if status := r.frames(c.body, field{":method", "POST"}, field{"content-length", c.length}); status != "200" {
			t.Errorf("the body %q and the length %s: status %s", c.body, c.length, status)
		}
	}
}

// unharmed fails the test if a failure counts against an upstream.
func (r *rig) unharmed(name string) {
	r.t.Helper()
	var none atomic.Int64
	r.blameless(name, &none)
}

// An upstream that hangs up on a request with a large head, or before the client has sent
// all of its body, is not counted as failing: one client could take it down for all. One
// that hangs up on sound requests is.
func TestUpstreamIsNotBlamedForTheClient(t *testing.T) {
	hangUp := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			br.Discard(br.Buffered())
		}
	})
	small := func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }
	bounded := httptest.NewUnstartedServer(http.HandlerFunc(small))
	bounded.Config.Protocols, bounded.Config.MaxHeaderBytes = protocols(true), 4<<10
	bounded.Start()
	t.Cleanup(bounded.Close)
	large := "X-Large: " + strings.Repeat("x", 15<<10) + "\r\n"
	const chunked = "Transfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		name, upstream, head, body string
		status                     []int
		warm, failures             bool
	}{
		{name: "large head", upstream: hangUp, head: large, status: []int{502}},
		{name: "large head over HTTP/2", upstream: strings.Replace(bounded.URL, "http", "h2c", 1), head: large, status: []int{431}, warm: true},
		{name: "large head, answered", upstream: bounded.URL, head: large, status: []int{431, 502}},
		{name: "another protocol over HTTP/2", upstream: strings.Replace(bounded.URL, "http", "h2c", 1), head: "Connection: Upgrade\r\nUpgrade: x\r\n", status: []int{400}},
		{name: "body under way", upstream: hangUp, head: chunked, body: strings.Repeat("8000\r\n"+strings.Repeat("x", 0x8000)+"\r\n", 256), status: []int{502}},
		{name: "sound", upstream: hangUp, status: []int{502}, failures: true},
		{name: "sound, with a body", upstream: hangUp, head: chunked, body: "0\r\n\r\n", status: []int{502}, failures: true},
		{name: "large head, nothing listens", upstream: closedPort(t), head: large, status: []int{502}, failures: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{c.upstream}})
			if c.warm { // the bounds of an upstream of HTTP/2 are known once it has answered
				r.do("GET", "/", "")
			}
			for range failuresToEject {
				conn, br := r.dial()
				go io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+cred+c.head+"\r\n"+c.body)
				res, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(c.status, res.StatusCode) {
					t.Errorf("status %d, want one of %d", res.StatusCode, c.status)
				}
			}
			if !c.failures {
				r.unharmed(c.name)
			} else if up := r.gauge("perfgate_upstream_up")[c.upstream]; up != 0 {
				t.Error("an upstream that fails is taken for up")
			}
		})
	}
}
