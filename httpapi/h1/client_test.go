package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// upstream is a server that a test scripts: serve has each connection, with its number.
type upstream struct {
	url   string
	conns atomic.Int64
	mu    sync.Mutex
	open  map[int]net.Conn
}

func newUpstream(t *testing.T, serve func(c net.Conn, br *bufio.Reader, n int)) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{url: "http://" + l.Addr().String(), open: map[int]net.Conn{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(u.conns.Add(1))
			u.mu.Lock()
			u.open[n] = c
			u.mu.Unlock()
			all.Go(func() {
				defer u.close(n)
				serve(c, bufio.NewReader(c), n)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		u.closeAll()
		all.Wait()
	})
	return u
}

func (u *upstream) close(n int) {
	u.mu.Lock()
	c := u.open[n]
	delete(u.open, n)
	u.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

func (u *upstream) closeAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n, c := range u.open {
		delete(u.open, n)
		c.Close()
	}
}

// replying answers each request, whose body it reads, with text.
func replying(text string) func(net.Conn, *bufio.Reader, int) {
	return func(c net.Conn, br *bufio.Reader, _ int) {
		for readRequest(br) != nil {
			io.WriteString(c, text)
		}
	}
}

// readRequest reads a request with its body; nil at the end of the connection.
func readRequest(br *bufio.Reader) *http.Request {
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil
	}
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	return req
}

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newTransport(t *testing.T) *Transport {
	t.Helper()
	tr := &Transport{ResponseHeaderTimeout: patience, ExpectContinueTimeout: patience, TLSHandshakeTimeout: patience}
	tr.Idle(4, patience)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// streamed is a body of which nothing is known in advance but perhaps its length.
type streamed struct{ io.Reader }

func (streamed) Close() error { return nil }

// newRequest makes a request; a body of another type than strings.Reader has no length.
func newRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := body.(*arriving); ok {
		req.ContentLength = int64(s.Len())
	}
	return req
}

// roundTrip sends a request and reads the answer. It returns the status, or 0, the body and the
// error of either.
func roundTrip(tr http.RoundTripper, req *http.Request) (int, string, error) {
	res, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func fetch(t *testing.T, tr http.RoundTripper, req *http.Request, want string) {
	t.Helper()
	status, body, err := roundTrip(tr, req)
	if err != nil || status != 200 || body != want {
		t.Fatalf("%s: status %d, %q, %v; want %q", req.Method, status, body, err, want)
	}
}

// onReuse calls f when req has got a connection from the pool, which has been checked and
// not been written to.
func onReuse(req *http.Request, f func()) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			if i.Reused {
				f()
			}
		},
	}))
}

// Whatever the answer's form, the next request takes the same connection, if the answer
// allows it.
func TestConnectionsAreReused(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
		conns              int64 // for two requests
	}{
		{"length", okay, "ok", 1},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "ok", 1},
		{"nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 1},
		{"HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "ok", 1},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 2},
		{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", 2},
		{"surplus", okay + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", "ok", 2},
		{"surplus octet", okay + "\n", "ok", 2},
		{"surplus after nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, tr := newUpstream(t, replying(tt.answer)), newTransport(t)
			for range 2 {
				fetch(t, tr, newRequest(t, "POST", u.url, strings.NewReader("body")), tt.want)
				if tt.conns == 1 {
					eventually(t, "the connection is idle", func() bool { return idleIsQuiet(tr) })
				}
			}
			if n := u.conns.Load(); n != tt.conns {
				t.Errorf("%d connections, want %d", n, tt.conns)
			}
		})
	}
}

// What net/http's client and this one send is the same, apart from the order of fields.
func TestRequestsAreThoseOfNetHTTP(t *testing.T) {
	got := make(chan string, 1)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		var head []string
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(br, writerFunc(func(p []byte) { head = append(head, string(p)) }))))
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		got <- canonical(strings.Join(head, "")) + "|" + string(body) + "|" + join(req.Trailer) + "|" + errText(err)
		io.WriteString(c, okay)
	})
	theirs := &http.Transport{DisableCompression: true}
	ours := newTransport(t)
	for name, build := range requestCases {
		var sent []string
		for _, tr := range []http.RoundTripper{theirs, ours} {
			fetch(t, tr, build(t, u.url), "ok")
			tr.(interface{ CloseIdleConnections() }).CloseIdleConnections()
			sent = append(sent, within(t, "the request", got))
		}
		if sent[0] != sent[1] {
			t.Errorf("%s: sent\n%q\nnet/http sends\n%q", name, sent[1], sent[0])
		}
	}
}

// A request that cannot be sent is refused before a connection is made.
func TestUnsendableRequests(t *testing.T) {
	tr := newTransport(t)
	tr.Dial = func(context.Context, string, string) (net.Conn, error) {
		t.Error("a connection was made")
		return nil, errors.New("no")
	}
	for name, spoil := range map[string]func(*http.Request){
		"method":         func(r *http.Request) { r.Method = "GE T" },
		"method with CR": func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX:" },
		"scheme":         func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no host":        func(r *http.Request) { r.URL.Host = "" },
		"no host name":   func(r *http.Request) { r.URL.Host = ":80" },
		"no URL":         func(r *http.Request) { r.URL = nil },
		"Host":           func(r *http.Request) { r.Host = "a b" },
		"Host with CRLF": func(r *http.Request) { r.Host = "a\r\nX: y" },
		"query":          func(r *http.Request) { r.URL.RawQuery = "a b" },
		"query with LF":  func(r *http.Request) { r.URL.RawQuery = "a\nb" },
		"opaque":         func(r *http.Request) { r.URL.Opaque = "//x/ y" },
		"field name":     func(r *http.Request) { r.Header["X Y"] = []string{"1"} },
		"empty name":     func(r *http.Request) { r.Header[""] = []string{"1"} },
		"field value":    func(r *http.Request) { r.Header["X"] = []string{"1\r\nY: 2"} },
		"NUL":            func(r *http.Request) { r.Header["X"] = []string{"\x00"} },
		"trailer":        func(r *http.Request) { r.Trailer = http.Header{"Content-Length": nil} },
		"trailer name":   func(r *http.Request) { r.Trailer = http.Header{"X Y": nil} },
	} {
		closed := false
		req := newRequest(t, "POST", "http://127.0.0.1:1/", nil)
		req.Body = toldBody{strings.NewReader("x"), func() { closed = true }}
		spoil(req)
		_, _, err := roundTrip(tr, req)
		if !errors.As(err, new(*RequestError)) || !closed {
			t.Errorf("%s: %v, body closed %v", name, err, closed)
		}
	}
}

// The types of errors tell a caller what may be tried again and whose fault it was.
func TestClientErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var op *net.OpError
	if _, _, err := roundTrip(newTransport(t), newRequest(t, "GET", "http://"+l.Addr().String(), nil)); !errors.As(err, new(*ConnectError)) || !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("nothing listens: %v", err)
	}
	for answer, is := range map[string]func(error) bool{
		"":                            func(err error) bool { return errors.Is(err, errEnded) },
		"HTTP/1.1 200":                func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) },
		"SSH-2.0-x\r\n":               func(err error) bool { return errors.As(err, new(*ResponseError)) },
		"HTTP/1.1 099 X\r\n\r\n":      func(err error) bool { return errors.Is(err, errStatus) },
		"HTTP/1.1 101 Switch\r\n\r\n": func(err error) bool { return errors.Is(err, errUnasked) },
	} {
		u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
			readRequest(br)
			io.WriteString(c, answer)
		})
		if _, _, err := roundTrip(newTransport(t), newRequest(t, "GET", u.url, nil)); !is(err) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		readRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
	})
	if _, body, err := roundTrip(newTransport(t), newRequest(t, "GET", u.url, nil)); body != "ok" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short body: %q, %v", body, err)
	}
}

// A closed body ends the connection, since the rest of the answer is in the way.
func TestCloseBeforeTheEnd(t *testing.T) {
	ended := make(chan bool, 1)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		readRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nok")
		br.ReadByte()
		ended <- true
	})
	res, err := newTransport(t).RoundTrip(newRequest(t, "GET", u.url, nil))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	within(t, "the end of the connection", ended)
	if _, err := res.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("read after close: %v", err)
	}
}

// Against net/http's server, from many goroutines.
func TestClientManyRequests(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}))
	defer srv.Close()
	tr := newTransport(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				want := strings.Repeat(string(rune('a'+i)), n*n%(96<<10))
				var body io.Reader = strings.NewReader(want)
				if n%2 == 0 {
					body = streamed{body}
				}
				status, got, err := roundTrip(tr, newRequest(t, "POST", srv.URL, body))
				if err != nil || status != 200 || got != want {
					t.Errorf("status %d, %d octets of %d, %v", status, len(got), len(want), err)
					return
				}
			}
		})
	}
	all.Wait()
}
