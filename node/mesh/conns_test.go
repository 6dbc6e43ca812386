package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// removal is node a that removes node b while connections are open: a raft connection
// and a call of b, and a raft connection of another node.
type removal struct {
	a, b, other       *Mesh
	denied            denies
	started, ended    chan struct{} // a's handler of calls
	in, out           net.Conn      // b's raft connection
	inOther, outOther net.Conn
	called            chan error // outcome of b's call
}

func startRemoval(t *testing.T) *removal {
	t.Helper()
	ca := newAuthority(t, "c1")
	r := &removal{started: make(chan struct{}, 1), ended: make(chan struct{}, 1), called: make(chan error, 1)}
	r.a = start(t, ca, "a", r.denied.into, func(c *Config) {
		c.Calls = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			io.Copy(io.Discard, q.Body)
			r.started <- struct{}{}
			<-q.Context().Done()
			r.ended <- struct{}{}
		})
	})
	r.b, r.other = start(t, ca, "b", echoes), start(t, ca, "c")
	layer := r.a.RaftLayer(nil)
	dial := func(m *Mesh) (in, out net.Conn) {
		t.Helper()
		out, err := m.RaftLayer(nil).Dial(raft.ServerAddress(r.a.Advertise()), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if in, err = layer.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); out.Close() })
		return in, out
	}
	r.in, r.out = dial(r.b)
	r.inOther, r.outOther = dial(r.other)
	if _, err := r.a.Call(within(t, patience), r.b.Advertise(), "b", "/", nil); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := r.b.Call(context.Background(), r.a.Advertise(), "a", "/", nil)
		r.called <- err
	}()
	<-r.started
	return r
}

// Drop ends everything that a removed node has open, and nothing of other nodes.
func TestRemovedNode(t *testing.T) {
	r := startRemoval(t)
	r.denied.deny("b")
	r.a.Drop("b")
	if err := <-r.called; err == nil || errors.As(err, new(*NotSent)) {
		t.Errorf("the call in progress: %v", err)
	}
	<-r.ended
	for _, c := range []net.Conn{r.in, r.out} {
		c.SetReadDeadline(time.Now().Add(patience))
		var b [1]byte
		if _, err := c.Read(b[:]); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a raft connection is open: %v", err)
		}
	}
	if _, err := r.outOther.Write([]byte("x")); err != nil {
		t.Errorf("another node's connection: %v", err)
	}
	var x [1]byte
	if _, err := io.ReadFull(r.inOther, x[:]); err != nil {
		t.Errorf("another node's connection: %v", err)
	}
}

// A removed node learns of its removal, and calls to it are refused at once.
func TestCallsOfRemovedNode(t *testing.T) {
	r := startRemoval(t)
	r.denied.deny("b")
	r.a.Drop("b")
	<-r.called
	if _, err := r.b.Call(within(t, patience), r.a.Advertise(), "a", "/", nil); !errors.Is(err, ErrRemoved) || !errors.As(err, new(*NotSent)) {
		t.Errorf("a new call of the removed node: %v", err)
	}
	if _, err := r.a.Call(within(t, patience), r.b.Advertise(), "b", "/", nil); !errors.Is(err, ErrDenied) || !errors.As(err, new(*NotSent)) {
		t.Errorf("a new call to the removed node: %v", err)
	}
}

// A flood of connections without authentication, silent or with nonsense, does not
// block members.
func TestStrangers(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := start(t, ca, "a", echoes), start(t, ca, "b")
	var first net.Conn
	for i := range 3 * maxStrangers {
		c, err := net.Dial("tcp", a.Advertise())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		switch i % 3 {
		case 0:
			if first == nil {
				first = c
			}
		case 1:
			c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		case 2: // the longest TLS record, of a handshake, begun
			c.Write([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff})
		}
		a.open.mu.Lock()
		n := len(a.open.strangers)
		a.open.mu.Unlock()
		if n > maxStrangers {
			t.Fatalf("%d strangers are in", n)
		}
	}
	if out, err := b.Call(within(t, patience), a.Advertise(), "a", "/", []byte("x")); err != nil || string(out) != "b x" {
		t.Fatalf("got %q, %v", out, err)
	}
	first.SetReadDeadline(time.Now().Add(patience))
	var x [1]byte
	if _, err := first.Read(x[:]); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the oldest stranger is still in: %v", err)
	}
}

type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr { return address(f.addr) }

func TestSurplus(t *testing.T) {
	for _, c := range []struct {
		hosts string // one letter each
		want  int
	}{
		{"a", 0}, {"ab", 0}, {"abb", 1}, {"aabbb", 2}, {"abcbcb", 1}, {"bbbba", 0}, {"abab", 0},
	} {
		var s []*conn
		for i, h := range c.hosts {
			s = append(s, &conn{raw: from{addr: fmt.Sprintf("%c:%d", h, i)}})
		}
		if got := surplus(s); got != c.want {
			t.Errorf("of %q: got %d, want %d", c.hosts, got, c.want)
		}
	}
}

// Between the look at Denied and Drop no connection slips through.
func TestDropRace(t *testing.T) {
	ca := newAuthority(t, "c1")
	for round := range 30 {
		var denied denies
		a, b := start(t, ca, "a", denied.into), start(t, ca, "b")
		var stop atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !stop.Load() {
				b.dial(within(t, time.Second), a.Advertise(), protoRaft, "a")
			}
		}()
		if round%2 == 0 { // connections that wait for Accept are dropped too
			soon(t, "a connection of the node to remove", func() bool { return len(a.open.of("b")) > 0 })
		}
		denied.deny("b")
		a.Drop("b")
		soon(t, "no connection of the removed node is open", func() bool {
			return len(a.open.of("b")) == 0
		})
		stop.Store(true)
		<-done
		a.Close()
		b.Close()
	}
}
