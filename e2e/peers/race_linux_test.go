package peers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/perfgate/perfgate/e2e/harness"
)

// races is the number of connections that end just when a request is sent.
const races = 600

// race has an upstream close the connection that waits in the proxy's pool just when
// the proxy sends a POST on it. The upstream is that of an idle timeout: it closes only
// if nothing has come yet, so it has read nothing, and the request may be sent again.
// A request that comes between its look and its close is not counted: it is answered with
// a reset, as one that was carried out may be, so no proxy can know. Linux counts those
// (TCPAbortOnClose), and those that arrive after the close (TCPAbortOnData), which are
// the ones that the proxy has to save. Outside a network namespace of its own, other
// connections of the machine count too.
func race(b *bench) {
	cells := map[string]string{}
	for _, name := range names {
		up := newFickle(b)
		p := b.startPeer(name, options{upstream: up.addr})
		up.armed.Store(true)
		r := &racer{b: b, peer: p, up: up}
		arrival := r.calibrate()
		at := arrival
		failed, raced, met, lost, tries := map[int]int{}, 0, 0, 0, 0
		for ; raced < races && tries < 20*races; tries++ {
			out := r.try(at + time.Duration((b.rng.Float64()*2-1)*float64(10*time.Microsecond)))
			step := 2*time.Microsecond + at/50
			switch { // stay where the end and the request cross
			case !out.closed:
				at -= step
			case out.met == 0:
				at += step
			}
			if out.late {
				lost++
				continue
			}
			if out.closed {
				raced++
				met += out.met
			}
			if out.status != http.StatusOK {
				failed[out.status]++
			}
		}
		sum := 0
		for _, n := range failed {
			sum += n
		}
		cells[name] = fmt.Sprintf("%d of %d, %d crossed", sum, raced, met)
		fmt.Printf("measured: race on a pooled connection: %s: failed: %s (by status, 0 is none: %v); %d tries, of which %d do not count; requests arrive after %v, the last end was at %v\n",
			name, cells[name], failed, tries, lost, arrival, at)
		r.hangUp()
	}
	b.table.cells("POSTs failed whose pooled connection was closed as they were sent (crossed: they came after the end)", cells)
}

// fickle is an upstream whose connections are handed to the test after each answer,
// once it is armed.
type fickle struct {
	addr  string
	idle  chan *fickleConn
	armed atomic.Bool
}

type fickleConn struct {
	net.Conn
	raw    syscall.RawConn
	resume chan struct{}
}

func newFickle(b *bench) *fickle {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	up := &fickle{addr: ln.Addr().String(), idle: make(chan *fickleConn, 64)}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				return
			}
			go up.serve(&fickleConn{c, raw, make(chan struct{})})
		}
	}()
	return up
}

func (up *fickle) serve(c *fickleConn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		if _, err := c.Write(answers[r.URL.Path]); err != nil {
			return
		}
		if !up.armed.Load() {
			continue
		}
		up.idle <- c // never full: the test takes one for each answer
		if _, ok := <-c.resume; !ok {
			return
		}
	}
}

// waiting is the number of octets that have come and were not read.
func (c *fickleConn) waiting() (n int) {
	c.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}

// racer sends one request after the other through a proxy.
type racer struct {
	b    *bench
	peer *peer
	up   *fickle
	conn net.Conn // nil: the next request needs one
	br   *bufio.Reader
	pool *fickleConn // the connection in the proxy's pool
}

// post sends a POST and returns the status of the answer; 0 without one.
func (r *racer) post(began func()) int {
	r.b.Helper()
	if r.conn == nil {
		c, err := net.Dial("tcp", r.peer.addr)
		if err != nil {
			r.b.Fatal(err)
		}
		r.conn, r.br = c, bufio.NewReader(c)
	}
	r.conn.SetDeadline(time.Now().Add(answerLimit))
	request := harness.RawRequest("POST", r.peer.addr, "/1k", r.b.keys[0], "{}")
	began()
	io.WriteString(r.conn, request)
	status, err := harness.SkipAnswer(r.br)
	if err != nil {
		status = 0
	}
	if status != http.StatusOK {
		r.hangUp()
	}
	return status
}

func (r *racer) hangUp() {
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}

// warm sees to a connection in the pool of the proxy that no request has met yet.
func (r *racer) warm() {
	r.b.Helper()
	if r.conn != nil && r.pool != nil {
		return
	}
	if status := r.post(func() {}); status != http.StatusOK {
		r.b.Fatalf("%s: status %d before the race", r.peer.name, status)
	}
	r.pool = <-r.up.idle
}

// calibrate returns when a request is at the upstream after it was sent.
func (r *racer) calibrate() time.Duration {
	var times []time.Duration
	for range 100 {
		r.warm()
		times = append(times, r.against(func(c *fickleConn, began time.Time) bool {
			for c.waiting() == 0 && time.Since(began) < time.Second {
			}
			return false
		}).took)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// try closes the pooled connection at a time after a request was sent, unless it is
// there already.
func (r *racer) try(at time.Duration) outcome {
	r.b.Helper()
	r.warm()
	late, met := tcpCount("TCPAbortOnClose"), tcpCount("TCPAbortOnData")
	out := r.against(func(c *fickleConn, began time.Time) bool {
		for time.Since(began) < at {
		}
		return c.waiting() == 0
	})
	if out.closed {
		out.late, out.met = tcpCount("TCPAbortOnClose") > late, tcpCount("TCPAbortOnData")-met
	}
	return out
}

type outcome struct {
	took   time.Duration // until the upstream decided
	closed bool
	late   bool // the request was there when the connection was closed
	met    int  // requests that came to a closed connection
	status int
}

// against sends a request while judge, which may spin for some µs, decides whether the
// connection in the pool ends.
func (r *racer) against(judge func(c *fickleConn, began time.Time) bool) (out outcome) {
	c, start, done := r.pool, make(chan time.Time), make(chan struct{})
	r.pool = nil
	go func() {
		defer close(done)
		began := <-start
		if out.closed = judge(c, began); out.closed {
			c.Close()
		}
		out.took = time.Since(began)
		if out.closed {
			close(c.resume)
		} else {
			c.resume <- struct{}{}
		}
	}()
	out.status = r.post(func() { start <- time.Now() })
	<-done
	if out.status == http.StatusOK {
		r.pool = <-r.up.idle
	}
	return out
}
