package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// gated is a connection whose next write returns only once the test lets it, after the
// octets have been sent. It remembers whether there are deadlines,
// and its end.
type gated struct {
	*net.TCPConn
	gate          atomic.Pointer[chan error]
	reads, writes atomic.Bool
	closed        atomic.Bool
}

func (g *gated) Close() error {
	g.closed.Store(true)
	return g.TCPConn.Close()
}

func (g *gated) Write(p []byte) (int, error) {
	n, err := g.TCPConn.Write(p)
	if gate := g.gate.Swap(nil); gate != nil && err == nil {
		err = <-*gate
	}
	return n, err
}

func (g *gated) SetReadDeadline(t time.Time) error {
	g.reads.Store(!t.IsZero())
	return g.TCPConn.SetReadDeadline(t)
}

func (g *gated) SetWriteDeadline(t time.Time) error {
	g.writes.Store(!t.IsZero())
	return g.TCPConn.SetWriteDeadline(t)
}

// gating makes the connections of tr gated, and returns the last one.
func gating(tr *Transport) *atomic.Pointer[gated] {
	last := new(atomic.Pointer[gated])
	tr.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		g := &gated{TCPConn: c.(*net.TCPConn)}
		last.Store(g)
		return g, nil
	}
	return last
}

// An answer may end before the write of the request's last octets has returned. The
// connection is used again all the same, once it has; or ended, if it fails.
func TestAnswerOvertakesTheWrite(t *testing.T) {
	for _, failure := range []error{nil, errors.New("it fails after all")} {
		u, tr := newUpstream(t, replying(okay)), newTransport(t)
		last := gating(tr)
		fetch(t, tr, newRequest(t, "POST", u.url, nil), "ok")
		gate := make(chan error)
		last.Load().gate.Store(&gate)
		fetch(t, tr, newRequest(t, "POST", u.url, strings.NewReader("body")), "ok")
		if n := len(tr.pool.idle[place{Target: targetFor(t, u.url)}]); n != 0 {
			t.Fatal("the connection is idle while it is written to")
		}
		gate <- failure
		if failure == nil {
			eventually(t, "the connection is idle", func() bool { return idleIsQuiet(tr) })
			if last.Load().writes.Load() {
				t.Error("the next request has a deadline")
			}
		} else {
			eventually(t, "the connection is closed", func() bool {
				u.mu.Lock()
				defer u.mu.Unlock()
				return len(u.open) == 0
			})
		}
		fetch(t, tr, newRequest(t, "POST", u.url, nil), "ok")
		if n := u.conns.Load(); (n == 1) != (failure == nil) {
			t.Errorf("%v: %d connections", failure, n)
		}
	}
}

// An upstream may read a request and close the connection before the write of it has
// returned. That is no request which it cannot have read.
func TestEndOvertakesTheWrite(t *testing.T) {
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		for {
			req := readRequest(br)
			if req == nil || req.URL.Path == "/end" {
				return
			}
			io.WriteString(c, okay)
		}
	})
	tr := newTransport(t)
	last := gating(tr)
	fetch(t, tr, newRequest(t, "POST", u.url, nil), "ok")
	gate := make(chan error)
	first := last.Load()
	first.gate.Store(&gate)
	go func() {
		eventually(t, "the client gives the connection up", first.closed.Load)
		gate <- nil
	}()
	if _, body, err := roundTrip(tr, newRequest(t, "POST", u.url+"/end", strings.NewReader("body"))); err == nil || u.conns.Load() != 1 {
		t.Errorf("%q, %v, on %d connections", body, err, u.conns.Load())
	}
}

// Octets that come before the upstream's kernel has any of the request are no answer. The
// upstream may go on to read the request, so it is not sent again unless it is idempotent.
func TestEarlyOctetsAreNoAnswer(t *testing.T) {
	for _, tt := range []struct{ method, body string }{{"POST", ""}, {"GET", ""}, {"POST", "body"}} {
		var s counting
		u, tr := newUpstream(t, s.serve), newTransport(t)
		fetch(t, tr, newRequest(t, "POST", u.url, nil), "ok")
		c := tr.pool.idle[place{Target: targetFor(t, u.url)}][0].socket
		sent := c.written.Load()
		c.count = func(uintptr) { c.acked = sent } // as if the network were slow
		if c.turn != nil {
			c.turn.pending = func(uintptr) int { return 1 << 20 }
		}
		var in io.Reader
		if tt.body != "" {
			in = strings.NewReader(tt.body)
		}
		_, body, err := roundTrip(tr, newRequest(t, tt.method, u.url+"/x", in))
		switch {
		case tt.method == "POST" && !errors.Is(err, errStray):
			t.Errorf("%+v: %q, %v", tt, body, err)
		case tt.method == "GET" && body != "ok":
			t.Errorf("%+v: %q, %v", tt, body, err)
		}
		if n := s.times("/x"); tt.method == "POST" && (n > 1 || u.conns.Load() > 1) {
			t.Errorf("%+v: carried out %d times, on %d connections", tt, n, u.conns.Load())
		}
	}
}

// Octets that come while a connection is idle are found before a request is sent on it, which
// then goes another way.
func TestOctetsOnAnIdleConnection(t *testing.T) {
	for _, body := range []string{"", "body"} {
		var s counting
		u, tr := newUpstream(t, s.serve), newTransport(t)
		fetch(t, tr, newRequest(t, "POST", u.url, nil), "ok")
		u.mu.Lock()
		io.WriteString(u.open[1], poison)
		u.mu.Unlock()
		var in io.Reader
		if body != "" {
			in = strings.NewReader(body)
		}
		fetch(t, tr, newRequest(t, "POST", u.url+"/x", in), "ok")
		if n := s.times("/x"); n != 1 || u.conns.Load() != 2 {
			t.Errorf("body %q: carried out %d times, on %d connections", body, n, u.conns.Load())
		}
	}
}

// The deadline of the head is none of the body, nor of the next request.
func TestDeadlinesEnd(t *testing.T) {
	u, tr := newUpstream(t, replying(okay)), newTransport(t)
	last := gating(tr)
	for range 2 {
		res, err := tr.RoundTrip(newRequest(t, "GET", u.url, nil))
		if err != nil {
			t.Fatal(err)
		}
		if last.Load().reads.Load() {
			t.Error("the body has a deadline")
		}
		res.Body.Close()
	}
}

// A connection that cannot be read without waiting could not be checked: it is used once.
func TestUncheckedConnections(t *testing.T) {
	u, tr := newUpstream(t, replying(okay)), newTransport(t)
	tr.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return struct{ net.Conn }{c}, err
	}
	for range 3 {
		fetch(t, tr, newRequest(t, "POST", u.url, strings.NewReader("body")), "ok")
	}
	if n := u.conns.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}
