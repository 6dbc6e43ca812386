package h1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// Server serves HTTP/1.1 and HTTP/1.0. Its exported fields must be set before Serve and
// not be changed after; only Handler is required.
type Server struct {
	Handler http.Handler

	// Lane serves requests without the types of net/http: it returns what serves q, or
	// nil, which leaves q to Handler. It may be nil. Its argument is the exchange's, too.
	Lane func(q *Request) func(*Exchange)

	// HTTP2 gets the connections that speak HTTP/2: those of TLS that agreed on it, and
	// those in plaintext that begin with its preface. nil refuses them. The server
	// starts it and stops it. It puts its own checks before the handler, with Refuse and
	// Fault, and gives it every connection as one of plaintext.
	HTTP2 *http.Server
	// Guard, if not nil, wraps each connection that goes to HTTP2: it sees the frames.
	Guard func(nc net.Conn) net.Conn

	// Refuse answers a request that is malformed and that Handler does not see; r has
	// the parts of it that were read. nil answers in plain text.
	Refuse func(w http.ResponseWriter, r *http.Request, e *Error)
	// Fault is told of each fault, in heads and in bodies. It may be nil.
	Fault func(e *Error)

	// ConnContext and ConnState are those of [http.Server]. A connection is active from
	// the end of a request's head to the end of its answer.
	ConnContext func(ctx context.Context, nc net.Conn) context.Context
	ConnState   func(nc net.Conn, state http.ConnState)

	// The bounds on time. Zero is none. Bodies that handlers read have no bound here: they
	// know how long theirs may take.
	HeadTimeout  time.Duration // for a handshake, and for a head from its first octet on
	IdleTimeout  time.Duration // between requests
	LingerTime   time.Duration // for the rest of a body after the answer, and for the client to close the connection after the last one
	WriteTimeout time.Duration // for the client to take a part of an answer, unless the handler sets a deadline

	Logger *slog.Logger // of panics in handlers, and for debugging; nil logs nothing

	closing atomic.Bool // set once

	// Loops have the connections that wait for their next request, and serve small requests;
	// nil leaves all to goroutines.
	Loops     *loop.Group
	mu        sync.Mutex // guards the fields below
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	handover  *handover     // to HTTP2
	empty     chan struct{} // of Shutdown: closed when the last connection ends
}

// Serve accepts connections of ln until Shutdown or Close, and then returns
// [http.ErrServerClosed]. A listener of package tls makes connections of TLS; others are
// plaintext.
func (s *Server) Serve(ln net.Listener) error {
	if !s.open(ln) {
		ln.Close()
		return http.ErrServerClosed
	}
	defer s.closeListener(ln)
	for pause := time.Duration(0); ; {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			s.take(nc)
			continue
		}
		if s.closing.Load() {
			return http.ErrServerClosed
		}
		var temporary interface{ Temporary() bool }
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			return err
		}
		// There may be no descriptors left for a moment.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.logger().Warn("accept a connection", "error", err, "pause", pause)
		time.Sleep(pause)
	}
}

// open registers ln, and starts HTTP2 with the first one.
func (s *Server) open(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	if s.listeners == nil {
		s.listeners, s.conns = map[net.Listener]struct{}{}, map[*conn]struct{}{}
	}
	s.listeners[ln] = struct{}{}
	if s.HTTP2 != nil && s.handover == nil {
		s.adopt(s.HTTP2)
		s.handover = newHandover(ln.Addr())
		go func() {
			if err := s.HTTP2.Serve(s.handover); !errors.Is(err, http.ErrServerClosed) {
				s.logger().Error("serve HTTP/2", "error", err)
			}
		}()
	}
	return true
}

func (s *Server) closeListener(ln net.Listener) {
	ln.Close()
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
}

// take serves nc on a goroutine of its own.
func (s *Server) take(nc net.Conn) {
	c := &conn{server: s, nc: nc}
	c.in.c, c.out.c = c, c
	s.mu.Lock()
	closing := s.closing.Load()
	if !closing {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if closing {
		nc.Close()
		return
	}
	c.hook(http.StateNew)
	go c.serve()
}

// forget removes c, which has ended or has another owner now.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if s.empty != nil && len(s.conns) == 0 {
		close(s.empty)
		s.empty = nil
	}
	s.mu.Unlock()
}

// Shutdown stops accepting, closes idle connections, and waits for the requests in
// flight until ctx ends. Hijacked connections are their owners'.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	http2 := make(chan error, 1)
	go func() {
		if s.HTTP2 == nil {
			http2 <- nil
			return
		}
		http2 <- s.HTTP2.Shutdown(ctx)
	}()
	err := s.drain(ctx)
	if other := <-http2; err == nil {
		err = other
	}
	return err
}

// stop closes the listeners.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	for ln := range s.listeners {
		ln.Close()
	}
}

// drain closes the idle connections and waits for the others. Those that become idle
// see that the server is closing.
func (s *Server) drain(ctx context.Context) error {
	s.mu.Lock()
	for c := range s.conns {
		if c.state.CompareAndSwap(idle, closed) {
			c.nc.Close()
		}
	}
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends everything at once, but for hijacked connections.
func (s *Server) Close() error {
	s.stop()
	s.mu.Lock()
	for c := range s.conns {
		c.nc.Close()
	}
	s.mu.Unlock()
	if s.HTTP2 != nil {
		return s.HTTP2.Close()
	}
	return nil
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// fault counts e.
func (s *Server) fault(e *Error) {
	if s.Fault != nil {
		s.Fault(e)
	}
}

// refuse answers a request that is malformed.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, e *Error) {
	if s.Refuse != nil {
		s.Refuse(w, r, e)
		return
	}
	http.Error(w, e.Message, e.Status)
}
