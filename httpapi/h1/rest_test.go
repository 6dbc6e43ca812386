package h1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// resting is the number of connections that rest or have rested, in this process.
func resting() int {
	var b bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&b, 2)
	return strings.Count(b.String(), "(*conn).resume(")
}

// onBoth runs a test over TCP and over TLS.
func onBoth(t *testing.T, test func(t *testing.T, start func(*Server) func() net.Conn)) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%t", secure), func(t *testing.T) {
			test(t, func(s *Server) func() net.Conn {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				if secure {
					ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
				}
				addr := serveOn(t, s, ln)
				return func() net.Conn {
					c, _ := dial(t, addr)
					if secure {
						return tls.Client(c, &tls.Config{InsecureSkipVerify: true})
					}
					return c
				}
			})
		})
	}
}

// ask makes a request and reads the answer.
func ask(t *testing.T, c io.Writer, br *bufio.Reader, text string) string {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("after %q: %v", text, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A connection that has rested serves requests as before, again and again.
func TestRest(t *testing.T) {
	needsGoroutines(t)
	onBoth(t, func(t *testing.T, start func(*Server) func() net.Conn) {
		s := answering(echoing)
		lane := func(x *Exchange) {
			x.Begin(http.StatusOK, new(Fields), nil, 4)
			io.WriteString(x, "lane")
		}
		s.Lane = func(q *Request) func(*Exchange) {
			if q.Path == "/lane" {
				return lane
			}
			return nil
		}
		c := start(s)()
		br := bufio.NewReader(c)
		for range 2 {
			if got := ask(t, c, br, "GET /lane HTTP/1.1\r\nHost: a\r\n\r\n"); got != "lane" {
				t.Errorf("%q", got)
			}
			eventually(t, "the connection to rest", func() bool { return resting() == 1 })
			if got := ask(t, c, br, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); got != "POST /x hello" {
				t.Errorf("after a rest: %q", got)
			}
		}
		// A head in pieces, whose first octet ends the rest.
		eventually(t, "the connection to rest", func() bool { return resting() == 1 })
		if _, err := io.WriteString(c, "G"); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, c, br, "ET /lane HTTP/1.1\r\nHost: a\r\n\r\n"); got != "lane" {
			t.Errorf("in pieces: %q", got)
		}
	})
}

// A connection rests at once after its first answer: its idle timeout is too short here for
// the other way to rest.
func TestRestAfterFirstAnswer(t *testing.T) {
	needsGoroutines(t)
	onBoth(t, func(t *testing.T, start func(*Server) func() net.Conn) {
		s := answering(echoing)
		s.IdleTimeout = 2 * restAfter
		open := start(s)
		tick := time.Tick(time.Millisecond)
		eventually(t, "a connection to rest", func() bool { // a slow machine may miss the rest of one
			c := open()
			ask(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			for range 100 {
				if resting() > 0 {
					return true
				}
				<-tick
			}
			return false
		})
		eventually(t, "the goroutines to end", func() bool { return resting() == 0 })
	})
}

// A request that came with the first one is answered without a rest.
func TestPipelineBeforeRest(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(*Server) func() net.Conn) {
		c := start(answering(echoing))()
		br := bufio.NewReader(c)
		ask(t, c, br, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
		for _, want := range []string{"GET /2 ", "POST /3 hi", "GET /4 "} {
			more := map[string]string{"POST /3 hi": "hi", "GET /4 ": "GET /4 HTTP/1.1\r\nHost: a\r\n\r\n"}[want]
			if got := ask(t, c, br, more); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})
}

// The time that a connection may be idle counts from its last answer, rested or not.
func TestRestKeepsIdleTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(*Server) func() net.Conn) {
		s := answering(echoing)
		s.IdleTimeout = 3 * restAfter
		c := start(s)()
		br := bufio.NewReader(c)
		began := time.Now() // before the answer: the test may learn of it late
		ask(t, c, br, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := br.ReadByte(); err == nil {
			t.Error("an octet came")
		}
		if took := time.Since(began); took < s.IdleTimeout*9/10 {
			t.Errorf("the connection was closed after %v", took)
		}
	})
}

// A connection that rests is closed at once by Shutdown.
func TestShutdownEndsRest(t *testing.T) {
	needsGoroutines(t)
	onBoth(t, func(t *testing.T, start func(*Server) func() net.Conn) {
		s := answering(echoing)
		open := start(s)
		var readers []*bufio.Reader
		for range 3 {
			c := open()
			br := bufio.NewReader(c)
			ask(t, c, br, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			readers = append(readers, br)
		}
		eventually(t, "the connections to rest", func() bool { return resting() == 3 })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		for _, br := range readers {
			if _, err := br.ReadByte(); err == nil {
				t.Error("an octet came")
			}
		}
		eventually(t, "the goroutines to end", func() bool { return resting() == 0 })
	})
}
