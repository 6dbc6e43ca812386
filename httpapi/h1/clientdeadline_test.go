package h1

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// gated is a connection whose next write returns only once the test lets it, after the
// octets have been sent. It remembers the deadline of reads.
type gated struct {
	*net.TCPConn
	gate     atomic.Pointer[chan error]
	deadline atomic.Int64 // Unix nanoseconds; 0 without one
}

func (g *gated) Write(p []byte) (int, error) {
	n, err := g.TCPConn.Write(p)
	if gate := g.gate.Swap(nil); gate != nil && err == nil {
		err = <-*gate
	}
	return n, err
}

func (g *gated) SetReadDeadline(t time.Time) error {
	if g.deadline.Store(0); !t.IsZero() {
		g.deadline.Store(t.UnixNano())
	}
	return g.TCPConn.SetReadDeadline(t)
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
		if n := len(tr.pool.idle[targetFor(t, u.url)]); n != 0 {
			t.Fatal("the connection is idle while it is written to")
		}
		gate <- failure
		if failure == nil {
			eventually(t, "the connection is idle", func() bool { return idleIsQuiet(tr) })
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

// The deadline of the head is none of the body, nor of the next request.
func TestDeadlinesEnd(t *testing.T) {
	u, tr := newUpstream(t, replying(okay)), newTransport(t)
	last := gating(tr)
	for range 2 {
		res, err := tr.RoundTrip(newRequest(t, "GET", u.url, nil))
		if err != nil {
			t.Fatal(err)
		}
		if at := last.Load().deadline.Load(); at != 0 {
			t.Errorf("the body has a deadline: %v", time.Unix(0, at))
		}
		res.Body.Close()
	}
}
