package h1

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// patience is how long a test waits for something that must happen.
const patience = time.Minute

// serve starts s on loopback until the test ends.
func serve(t *testing.T, s *Server) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, s, ln)
}

func serveOn(t *testing.T, s *Server, ln net.Listener) net.Addr {
	t.Helper()
	if s.Logger == nil {
		s.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if loops != nil {
		s.Loops, ln = loops, loop.Listener{Listener: ln}
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		s.waitForEnd(t)
	})
	return ln.Addr()
}

// waitForEnd waits until no connection is left: their goroutines log to the test.
func (s *Server) waitForEnd(t *testing.T) {
	t.Helper()
	eventually(t, "the end of the connections", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 0
	})
}

// eventually polls, for what no channel tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.Tick(time.Millisecond); !ok(); <-tick {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// within receives from c.
func within[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// dial connects to addr until the test ends.
func dial(t *testing.T, addr net.Addr) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c, bufio.NewReader(c)
}

// talk sends text and returns all that comes until the server closes.
func talk(t *testing.T, addr net.Addr, text string) string {
	t.Helper()
	c, br := dial(t, addr)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(br)
	if err != nil {
		t.Errorf("after %.400q: %v", got, err)
	}
	return string(got)
}

var dateLine = regexp.MustCompile(`Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n`)

// undated is answers without their Date lines, of which each final one has one.
func undated(t *testing.T, text string) string {
	t.Helper()
	got := dateLine.ReplaceAllString(text, "")
	answers := strings.Count(text, "HTTP/1.1 ") - strings.Count(text, "HTTP/1.1 1")
	if dates := len(dateLine.FindAllString(text, -1)); dates != answers {
		t.Errorf("%d answers have %d dates: %q", answers, dates, text)
	}
	return got
}

// answering is a server of a handler.
func answering(h http.HandlerFunc) *Server { return &Server{Handler: h} }

// echoing answers with the body of the request, or with 400 if that breaks.
func echoing(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(b))
}

func inputOf(r io.Reader) *input { return newInput(r, bufferSize) }
