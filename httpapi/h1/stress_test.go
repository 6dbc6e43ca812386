package h1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// memory is a connection whose client has sent all that it will.
type memory struct {
	in  io.Reader
	out bytes.Buffer
}

func (m *memory) Read(p []byte) (int, error)       { return m.in.Read(p) }
func (m *memory) Write(p []byte) (int, error)      { return m.out.Write(p) }
func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

// transcript serves the octets of in, and returns the requests that a handler saw and
// the answers.
func transcript(in io.Reader) (seen []string, out string) {
	m := &memory{in: in}
	s := answering(func(w http.ResponseWriter, r *http.Request) {
		unread := strings.HasPrefix(r.RequestURI, "/unread")
		var body []byte
		var err error
		if !unread {
			body, err = io.ReadAll(r.Body)
		}
		seen = append(seen, fmt.Sprintf("%s %s %q %v", r.Method, r.RequestURI, body, err))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	s.Refuse = func(w http.ResponseWriter, _ *http.Request, e *Error) {
		w.WriteHeader(e.Status)
		io.WriteString(w, e.Message)
	}
	s.conns = map[*conn]struct{}{}
	c := &conn{server: s, nc: m}
	c.in.c, c.out.c = c, c
	ended := make(chan struct{})
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(ended)
		}
	}
	c.serve()
	<-ended // it rests after its first answer
	return seen, dateLine.ReplaceAllString(m.out.String(), "")
}

// Whatever a client sends, the requests and the answers do not depend on the pieces in
// which it arrives, and no answer follows one that ends the connection.
func FuzzServer(f *testing.F) {
	for _, tt := range heads {
		f.Add([]byte(tt.text + get + "\r\n"))
	}
	for _, tt := range chunks {
		f.Add([]byte(post + "Transfer-Encoding: chunked\r\n\r\n" + tt.text + get + "\r\n"))
		f.Add([]byte("POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + tt.text + get + "\r\n"))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		seen, out := transcript(bytes.NewReader(p))
		slow, slowOut := transcript(iotest.OneByteReader(bytes.NewReader(p)))
		if fmt.Sprint(seen) != fmt.Sprint(slow) || out != slowOut {
			t.Fatalf("%q: %q and %q in one piece, %q and %q by octets", p, seen, out, slow, slowOut)
		}
		if _, after, ok := strings.Cut(out, "\r\nConnection: close\r\n"); ok && strings.Contains(after, "HTTP/1.1 ") {
			t.Fatalf("%q: answered after the end: %q", p, out)
		}
	})
}

// Many clients at once, each with requests of all framings: every answer is that of its
// request.
func TestManyClients(t *testing.T) {
	addr := serve(t, answering(echoing))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for client := range 8 {
		rnd := rand.New(rand.NewPCG(seed, uint64(client)))
		all.Go(func() {
			c, br := dial(t, addr)
			for i := range 50 {
				text, want := request(rnd, fmt.Sprintf("/%d/%d", client, i))
				pipelined := i%5 == 0
				if pipelined {
					next, wanted := request(rnd, "/next")
					text, want = text+next, want+wanted
				}
				go writeInPieces(c, text, 1+rnd.IntN(len(text)))
				got := ""
				for range 1 + strings.Count(want, " /next ") {
					res, err := http.ReadResponse(br, nil)
					if err != nil {
						t.Errorf("client %d, request %d: %v", client, i, err)
						return
					}
					b, err := io.ReadAll(res.Body)
					if err != nil {
						t.Errorf("client %d, request %d: %v", client, i, err)
					}
					got += string(b)
				}
				if got != want {
					t.Errorf("client %d, request %d: %q, want %q", client, i, got, want)
				}
			}
		})
	}
	all.Wait()
}

func writeInPieces(w io.Writer, text string, size int) {
	for text != "" {
		n := min(size, len(text))
		io.WriteString(w, text[:n])
		text = text[n:]
	}
}

// request is a request with a random body, and the answer of echoing.
func request(rnd *rand.Rand, uri string) (text, want string) {
	body := strings.Repeat("x", rnd.IntN(3)*rnd.IntN(5000))
	switch rnd.IntN(3) {
	case 0:
		return "GET " + uri + " HTTP/1.1\r\nHost: a\r\n\r\n", "GET " + uri + " "
	case 1:
		return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", uri, len(body), body), "PUT " + uri + " " + body
	}
	var b bytes.Buffer
	bw := bufio.NewWriter(&b)
	w := chunkedWriter{bw}
	for rest := body; rest != ""; {
		n := 1 + rnd.IntN(len(rest))
		io.WriteString(w, rest[:n])
		rest = rest[n:]
	}
	trailer := FieldsOf(http.Header{"X-T": {"1"}})
	w.end(&trailer)
	bw.Flush()
	return "POST " + uri + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b.String(), "POST " + uri + " " + body
}

// A handler's deadline for writes is not that of the next request.
func TestDeadlineOfOneRequest(t *testing.T) {
	addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1")
		io.WriteString(w, "x")
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.Flush(), rc.SetWriteDeadline(past)); err != nil {
			t.Error(err)
		}
	}))
	if got := talk(t, addr, get+"\r\n"+get+closing+"\r\n"); strings.Count(got, "HTTP/1.1 200 ") != 2 {
		t.Errorf("%q", got)
	}
}

// flaky is a listener that fails before each connection, and then for good.
type flaky struct {
	net.Listener
	failed, left int
}

type failure bool

func (f failure) Error() string   { return "a test" }
func (f failure) Temporary() bool { return bool(f) }

func (f *flaky) Accept() (net.Conn, error) {
	if f.failed++; f.failed%2 == 1 {
		return nil, failure(true)
	}
	if f.left--; f.left < 0 {
		return nil, failure(false)
	}
	return f.Listener.Accept()
}

// A listener that fails for a moment is asked again; one that fails for good ends Serve.
func TestFailingListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := answering(echoing)
	done := make(chan error, 1)
	go func() { done <- s.Serve(&flaky{Listener: ln, left: 2}) }()
	for range 2 {
		if got := talk(t, ln.Addr(), get+closing+"\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("%q", got)
		}
	}
	if err := within(t, "the end of Serve", done); err != failure(false) {
		t.Errorf("Serve: %v", err)
	}
	s.Close()
	s.waitForEnd(t)
}

// A connection of HTTP/2 that comes when its server has stopped is closed.
func TestHandover(t *testing.T) {
	h := newHandover(&net.TCPAddr{Port: 1})
	if h.Addr().String() != ":1" {
		t.Error(h.Addr())
	}
	one, other := net.Pipe()
	go h.give(&earlyConn{one, []byte("ab")})
	nc, err := h.Accept()
	if err != nil || nc.(*earlyConn).NetConn() != one {
		t.Fatal(nc, err)
	}
	go io.WriteString(other, "cd")
	p := make([]byte, 4)
	if _, err := io.ReadFull(nc, p); string(p) != "abcd" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	h.Close()
	h.Close()
	if _, err := h.Accept(); err != http.ErrServerClosed {
		t.Error(err)
	}
	h.give(one)
	if _, err := other.Read(p); err != io.EOF {
		t.Errorf("the connection is not closed: %v", err)
	}
}
