package h1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// counting answers requests and counts each by its target.
type counting struct {
	mu   sync.Mutex
	seen map[string]int
}

func (s *counting) serve(c net.Conn, br *bufio.Reader, _ int) {
	for {
		req := readRequest(br)
		if req == nil {
			return
		}
		s.count(req.URL.Path)
		io.WriteString(c, okay)
	}
}

func (s *counting) count(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	s.seen[path]++
}

func (s *counting) times(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[path]
}

// uploads are the kinds of bodies that a request may have to be sent again with.
var uploads = []struct {
	name string
	make func() io.Reader
}{
	{"none", func() io.Reader { return nil }},
	{"small", func() io.Reader { return strings.NewReader("body") }},
	{"small in chunks", func() io.Reader { return streamed{strings.NewReader("body")} }},
	{"in memory", func() io.Reader { return ready{strings.NewReader(strings.Repeat("x", 3000))} }},
	{"large in chunks", func() io.Reader { return streamed{strings.NewReader(strings.Repeat("x", 20_000))} }},
	{"large", func() io.Reader { return strings.NewReader(strings.Repeat("x", 30_000)) }},
	{"arrived", func() io.Reader { return &arriving{strings.NewReader(strings.Repeat("x", 16_000)), 16_000} }},
	{"arrived in part", func() io.Reader { return &arriving{strings.NewReader(strings.Repeat("x", 16_000)), 5_000} }},
}

// ready is a body that is in memory.
type ready struct{ *strings.Reader }

func (r ready) Buffered() int { return r.Len() }
func (ready) Close() error    { return nil }

// The worst moment: the upstream closes a connection after it was taken from the pool and
// checked, right before the request is written. No request fails, none is carried out
// twice.
func TestUpstreamClosesAsTheRequestIsSent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("without the kernel's count of acknowledged octets, nothing proves that the upstream has read none")
	}
	var s counting
	u, tr := newUpstream(t, s.serve), newTransport(t)
	for i := range 100 {
		for _, b := range uploads {
			path := fmt.Sprintf("/%d/%s", i, strings.ReplaceAll(b.name, " ", "-"))
			met := false
			if s.times("/0/none") > 0 {
				eventually(t, "the last connection is idle", func() bool { return idleIsQuiet(tr) })
			}
			req := onReuse(newRequest(t, "POST", u.url+path, b.make()), func() { met = true; u.closeAll() })
			fetch(t, tr, req, "ok")
			if n := s.times(path); n != 1 {
				t.Fatalf("%s: carried out %d times", path, n)
			}
			if !met && path != "/0/none" {
				t.Fatalf("%s: the connection was new", path)
			}
		}
	}
}

// The same with a reset instead of an orderly end: the kernel refuses the request.
func TestUpstreamResetsAsTheRequestIsSent(t *testing.T) {
	var s counting
	u, tr := newUpstream(t, s.serve), newTransport(t)
	for i := range 20 {
		for _, b := range uploads {
			path := fmt.Sprintf("/%d/%s", i, strings.ReplaceAll(b.name, " ", "-"))
			fetch(t, tr, onReuse(newRequest(t, "POST", u.url+path, b.make()), func() {
				u.mu.Lock()
				for _, c := range u.open {
					c.(*net.TCPConn).SetLinger(0)
				}
				u.mu.Unlock()
				u.closeAll()
			}), "ok")
			if n := s.times(path); n != 1 {
				t.Fatalf("%s: carried out %d times", path, n)
			}
		}
	}
}

// A connection that has ended, or has octets that no request has asked for, is not used,
// although the pool has not heard of it.
func TestStaleConnections(t *testing.T) {
	for name, spoil := range map[string]func(net.Conn){
		"ended":   func(c net.Conn) { c.Close() },
		"half":    func(c net.Conn) { c.(*net.TCPConn).CloseWrite() },
		"reset":   func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"surplus": func(c net.Conn) { io.WriteString(c, poison) },
		"timeout": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s counting
			u, tr := newUpstream(t, s.serve), newTransport(t)
			for i := range 20 {
				fetch(t, tr, newRequest(t, "POST", fmt.Sprintf("%s/%d", u.url, i), strings.NewReader("body")), "ok")
				if n := s.times(fmt.Sprint("/", i)); n != 1 {
					t.Fatalf("carried out %d times", n)
				}
				u.mu.Lock()
				for _, c := range u.open {
					spoil(c)
				}
				u.mu.Unlock()
				eventually(t, "what was sent has come", func() bool { return !idleIsQuiet(tr) })
			}
			if n := u.conns.Load(); n != 20 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// idleIsQuiet looks at the idle connection without reading from it.
func idleIsQuiet(tr *Transport) bool {
	tr.pool.mu.Lock()
	defer tr.pool.mu.Unlock()
	for _, all := range tr.pool.idle {
		for _, c := range all {
			quiet := true
			c.socket.raw.Control(func(fd uintptr) {
				_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
				quiet = err == syscall.EAGAIN
			})
			return quiet
		}
	}
	return false
}

const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

// An upstream that says something and closes the connection right after it was checked, as
// with a 408 for an idle client, has not answered the request that follows.
func TestSurplusAsTheRequestIsSent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("without the kernel's count of acknowledged octets, it is taken for the answer")
	}
	var s counting
	u, tr := newUpstream(t, s.serve), newTransport(t)
	for i := range 50 {
		for _, b := range uploads[:3] {
			path := fmt.Sprintf("/%d/%s", i, strings.ReplaceAll(b.name, " ", "-"))
			fetch(t, tr, onReuse(newRequest(t, "POST", u.url+path, b.make()), func() {
				u.mu.Lock()
				for _, c := range u.open {
					io.WriteString(c, poison)
				}
				u.mu.Unlock()
				u.closeAll()
			}), "ok")
			if n := s.times(path); n != 1 {
				t.Fatalf("%s: carried out %d times", path, n)
			}
		}
	}
}

// A request that the upstream has read is sent again only if its method is idempotent and
// its body is still there.
func TestRequestsThatWereRead(t *testing.T) {
	huge := func() io.Reader { return streamed{strings.NewReader(strings.Repeat("x", 2*largeBuffer))} }
	for _, tt := range []struct {
		method string
		body   func() io.Reader
		again  bool
	}{
		{"GET", uploads[0].make, true}, {"HEAD", uploads[0].make, true}, {"DELETE", uploads[0].make, true},
		{"PUT", uploads[1].make, true}, {"PUT", uploads[4].make, true}, {"PUT", huge, false},
		{"POST", uploads[0].make, false}, {"POST", uploads[1].make, false}, {"PATCH", uploads[2].make, false}, {"get", uploads[0].make, false},
	} {
		var reads atomic.Int64
		u := newUpstream(t, func(c net.Conn, br *bufio.Reader, n int) {
			if readRequest(br) == nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if readRequest(br) == nil {
				return
			}
			if reads.Add(1); n > 1 {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		tr := newTransport(t)
		fetch(t, tr, newRequest(t, "GET", u.url, nil), "")
		status, _, err := roundTrip(tr, newRequest(t, tt.method, u.url, tt.body()))
		if (err == nil) != tt.again || tt.again && status != 200 || reads.Load() != 1 {
			t.Errorf("%s: status %d, %v; read %d times on the first connection", tt.method, status, err, reads.Load())
		}
		if want := int64(2); tt.again && u.conns.Load() != want || !tt.again && u.conns.Load() != 1 {
			t.Errorf("%s: %d connections", tt.method, u.conns.Load())
		}
	}
}

// A new connection that fails is an error of the upstream: the caller decides what to try
// next.
func TestNewConnectionsAreNotTriedAgain(t *testing.T) {
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) { readRequest(br) })
	if _, _, err := roundTrip(newTransport(t), newRequest(t, "GET", u.url, nil)); !errors.Is(err, errEnded) || u.conns.Load() != 1 {
		t.Errorf("%v, %d connections", err, u.conns.Load())
	}
}

// An upstream that closes idle connections at random moments while requests come: none is
// carried out twice, whatever else happens to it.
func TestRandomClosesNeverRepeatARequest(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var s counting
	u, tr := newUpstream(t, s.serve), newTransport(t)
	stop := make(chan struct{})
	var closer, all sync.WaitGroup
	closer.Go(func() {
		rnd := rand.New(rand.NewPCG(seed, 0))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rnd.IntN(500)) * time.Microsecond):
				u.closeAll()
			}
		}
	})
	var failed atomic.Int64
	for i := range 4 {
		all.Go(func() {
			for n := range 300 {
				path := fmt.Sprintf("/%d/%d", i, n)
				status, body, err := roundTrip(tr, newRequest(t, "POST", u.url+path, uploads[(i+n)%len(uploads)].make()))
				times := s.times(path)
				if err != nil {
					failed.Add(1)
				} else if status != 200 || body != "ok" || times != 1 {
					t.Errorf("%s: status %d, %q, carried out %d times", path, status, body, times)
				}
				if times > 1 {
					t.Errorf("%s: carried out %d times", path, times)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	closer.Wait()
	t.Logf("%d of 1200 requests were under way when their connection was closed", failed.Load())
}

// Idle connections are closed when they are too old or have ended; above the bound, the
// oldest is.
func TestIdleConnections(t *testing.T) {
	hold := make(chan bool)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		for readRequest(br) != nil {
			<-hold
			io.WriteString(c, okay)
		}
	})
	tr := newTransport(t)
	tr.Idle(2, patience)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if status, _, err := roundTrip(tr, newRequest(t, "GET", u.url, nil)); status != 200 {
				t.Errorf("status %d, %v", status, err)
			}
		})
	}
	eventually(t, "all requests are there", func() bool { return u.conns.Load() == 4 })
	for range 4 {
		hold <- true
	}
	all.Wait()
	if n := len(tr.pool.idle[place{Target: targetFor(t, u.url)}]); n != 2 {
		t.Errorf("%d idle connections", n)
	}
	u.closeAll()
	eventually(t, "the ends have come", func() bool { return !idleIsQuiet(tr) })
	tr.pool.sweep()
	if n := len(tr.pool.idle); n != 0 || tr.pool.timer != nil {
		t.Errorf("%d idle connections after their end, timer %v", n, tr.pool.timer)
	}
	go func() { hold <- true }()
	fetch(t, tr, newRequest(t, "GET", u.url, nil), "ok")
	tr.pool.keep = time.Nanosecond
	if c := tr.pool.take(place{Target: targetFor(t, u.url)}, false); c != nil {
		t.Error("an old connection is used")
	}
}

// The timer closes what nobody takes.
func TestSweepRuns(t *testing.T) {
	ended := make(chan bool, 1)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, n int) {
		replying(okay)(c, br, n)
		ended <- true
	})
	tr := newTransport(t)
	tr.Idle(4, 10*time.Millisecond)
	fetch(t, tr, newRequest(t, "GET", u.url, nil), "ok")
	within(t, "the end of the idle connection", ended)
}

func targetFor(t *testing.T, url string) Target {
	t.Helper()
	key, err := TargetOf(newRequest(t, "GET", url, nil).URL)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The last connection used is used next.
func TestLastInFirstOut(t *testing.T) {
	var last atomic.Int64
	hold := make(chan bool)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, n int) {
		for {
			req := readRequest(br)
			if req == nil {
				return
			}
			if req.URL.Path == "/held" {
				<-hold
			}
			last.Store(int64(n))
			io.WriteString(c, okay)
		}
	})
	tr := newTransport(t)
	held, err := make(chan error, 1), error(nil)
	go func() {
		_, _, err := roundTrip(tr, newRequest(t, http.MethodGet, u.url+"/held", nil))
		held <- err
	}()
	eventually(t, "the held request is there", func() bool { return u.conns.Load() == 1 })
	fetch(t, tr, newRequest(t, "GET", u.url, nil), "ok")
	hold <- true
	if err = within(t, "the held answer", held); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fetch(t, tr, newRequest(t, "GET", u.url, nil), "ok")
		if n := last.Load(); n != 1 {
			t.Fatalf("connection %d", n)
		}
	}
}
