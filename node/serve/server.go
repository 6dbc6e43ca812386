package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// The bounds of a listener. Bodies and answers stream for as long as they move,
// so there is no bound on a whole request.
const (
	HeadTimeout = 10 * time.Second // for TLS, PROXY header and a request's head, each
	IdleTimeout = 2 * time.Minute  // of a connection between requests

	maxProxyConns = 65536
	maxAdminConns = 1024
	spareFiles    = 256 // descriptors for everything that is no client's connection
)

// Config describes one listener.
type Config struct {
	Name    string        // "proxy" or "admin", for the log
	Addr    string        // HOST:PORT
	Certs   *Certificates // nil serves plaintext
	Handler http.Handler
	// Lane serves some requests of HTTP/1.1 before Handler; nil serves none.
	Lane   Lane
	Logger *slog.Logger
	// MaxConns bounds open connections. When they are taken, or the share of one
	// address is, the idlest are closed for newcomers.
	MaxConns int
	// Trusted lists the proxies that many clients share: they have no bound of their
	// own.
	Trusted []netip.Prefix
	// ProxyProtocol lists the peers that must send a PROXY header (version 1 or 2)
	// on each connection; nil is none. A header from any other peer is a malformed
	// request.
	ProxyProtocol []netip.Prefix
	// EventLoops has loops serve small requests of HTTP/1.1, where the system has them and
	// the listener is one of plaintext.
	EventLoops bool
}

// Server is one HTTP listener: it speaks HTTP/1.1 and HTTP/2, over TLS or (h2c,
// prior knowledge) without it.
type Server struct {
	cfg       Config
	http      *h1.Server
	conns     *conns
	malformed *prometheus.CounterVec // requests, by reason
	http2     http2Metrics
	ln        net.Listener // set by Open
}

// New returns the server of a listener, which is not bound yet.
func New(c Config) *Server {
	s := &Server{cfg: c, conns: newConns(c.MaxConns, c.Trusted), malformed: malformedCounter(c.Name), http2: newHTTP2Metrics(c.Name)}
	logger := c.Logger.With("listener", c.Name)
	s.conns.full = tellFull(logger)
	handler := whole(c.Handler)
	s.http = &h1.Server{
		Handler:      s.conns.serve(handler),
		HTTP2:        s.overHTTP2(s.conns.serve(bounded(handler)), logger),
		Guard:        s.guard(logger),
		Lane:         s.lane(),
		Refuse:       refuse,
		Fault:        func(e *h1.Error) { s.malformed.WithLabelValues(e.Reason).Inc() },
		ConnContext:  connContext,
		ConnState:    connState,
		HeadTimeout:  HeadTimeout,
		IdleTimeout:  IdleTimeout,
		LingerTime:   fault.LingerTime,
		WriteTimeout: IdleTimeout,
		Logger:       logger,
	}
	return s
}

// lane is the configured lane for the connections and requests that are none of the
// handler's own business.
func (s *Server) lane() Lane {
	next := s.cfg.Lane
	if next == nil {
		return nil
	}
	return func(r *h1.Request) func(*h1.Exchange) {
		if c, ok := admit.VoucherOf(r.Context).(*conn); ok && c.probation || r.Path == "*" {
			return nil
		}
		return next(r)
	}
}

// ProxyConns is the number of clients that fit into the open-file limit of the
// process beside those of the admin listener: each may need a connection to an
// upstream.
func ProxyConns() int {
	files := openFiles()
	return max(16, min((files-spareFiles-AdminConns())/2, maxProxyConns))
}

// AdminConns is the bound of the admin listener: a sixteenth of the open-file limit.
func AdminConns() int { return max(16, min(openFiles()/16, maxAdminConns)) }

// openFiles is the open-file limit of the process.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<30))
}

// Open binds the address and logs it. An error is a sentence for the operator
// that does not repeat the address.
func (s *Server) Open(ctx context.Context) error {
	ln, err := listen(ctx, s.cfg.Addr)
	if err != nil {
		return err
	}
	addr := ln.Addr()
	if s.startLoops(); s.http.Loops != nil {
		ln = loop.Listener{Listener: ln}
	}
	ln = &limitedListener{Listener: ln, conns: s.conns, proxies: s.cfg.ProxyProtocol}
	if s.cfg.Certs != nil {
		ln = tls.NewListener(ln, s.cfg.Certs.Config())
	}
	s.ln = ln
	s.cfg.Logger.Info(s.cfg.Name+" listening", "addr", addr.String(), "tls", s.cfg.Certs != nil)
	return nil
}

// startLoops starts a loop for each processor.
func (s *Server) startLoops() {
	if !s.cfg.EventLoops || s.cfg.Certs != nil {
		return
	}
	loops, err := loop.Start(runtime.GOMAXPROCS(0))
	if err != nil {
		s.cfg.Logger.Warn("event loops cannot be started; requests are served without them", "listener", s.cfg.Name, "error", err)
		return
	}
	s.http.Loops = loops
}

// listen binds addr; an error is a sentence as Open returns it.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, errors.New("something else listens there already")
	case errors.Is(err, syscall.EACCES):
		return nil, errors.New("this user may not listen there; choose a port from 1024 on, or grant the capability net_bind_service")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, errors.New("this machine does not have that address")
	}
	return ln, err
}

// Addr is the bound address, after Open.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Run serves until Shutdown or Close; it blocks.
func (s *Server) Run() error {
	if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops accepting and waits for requests in flight until ctx ends;
// then it cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}

// Close stops at once.
func (s *Server) Close() error {
	err := s.http.Close()
	if s.http.Loops != nil {
		s.http.Loops.Close()
	}
	if s.ln != nil {
		s.ln.Close() // Close knows only listeners that Run has begun to serve
	}
	return err
}
