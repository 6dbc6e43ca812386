package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"golang.org/x/net/netutil"
)

// The bounds of a listener. Bodies and answers stream for as long as they move,
// so that no bound is on a whole request.
const (
	headTimeout   = 10 * time.Second // for TLS, PROXY header and a request's head, each
	idleTimeout   = 2 * time.Minute
	maxStreams    = 250 // HTTP/2 streams at a time on one connection
	adminConns    = 1024
	maxProxyConns = 65536
	spareFiles    = 256 // descriptors for everything that is not a proxied connection
)

// Server is one HTTP listener: it speaks HTTP/1.1 and HTTP/2, over TLS or (h2c,
// prior knowledge) without it.
type Server struct {
	name    string // "proxy" or "admin"
	key     string // "proxy.listen" or "admin.listen"
	address string
	config  *Config
	certs   *Certificates
	logger  *slog.Logger
	http    *http.Server
	ln      net.Listener
	conns   int
	trusted atomic.Pointer[[]netip.Prefix] // may speak the PROXY protocol; nil if it is off
}

// NewServer returns the listener name, "proxy" or "admin", of c. certs is nil
// for plaintext.
func NewServer(c *Config, name string, certs *Certificates, handler http.Handler, logger *slog.Logger) *Server {
	s := &Server{name: name, key: name + ".listen", config: c, certs: certs, logger: logger}
	s.address, s.conns = c.Admin.Listen, adminConns
	if name == "proxy" {
		s.address, s.conns = c.Proxy.Listen, proxyConns()
		if c.Proxy.ProxyProtocol {
			s.trusted.Store(&c.Proxy.TrustedProxies)
		}
	}
	s.http = &http.Server{
		Handler:           bounded(handler),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    hardHead - headOfHTTP,
		Protocols:         new(http.Protocols),
		// "OPTIONS *" is answered by the handler like anything else: 405 here, not 200.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, // what they may send ahead is net/http's 1 MiB for the whole connection
			SendPingTimeout:      idleTimeout / 2,
			PingTimeout:          headTimeout,
			WriteByteTimeout:     idleTimeout,
		},
		// What clients do wrong on the wire (TLS to a plain port, a reset) is
		// theirs: it is no line in the log unless somebody looks for it.
		ErrorLog: slog.NewLogLogger(logger.With("listener", name).Handler(), slog.LevelDebug),
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(certs != nil)
	s.http.Protocols.SetUnencryptedHTTP2(certs == nil)
	if certs != nil {
		s.http.TLSConfig = certs.Config()
	}
	return s
}

// proxyConns is how many clients fit: each may need a connection to an upstream.
func proxyConns() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return max(16, int(min((max(limit.Cur, spareFiles)-spareFiles)/2, maxProxyConns)))
}

// Open binds the address and says so in the log. An error is a [*UsageError].
func (s *Server) Open(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.address)
	if err != nil {
		want := err.Error()
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			want = "something else listens there already"
		case errors.Is(err, syscall.EACCES):
			want = "this user may not listen there; want a port from 1024 on, or the capability net_bind_service"
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			want = "this machine does not have that address"
		}
		return s.config.fault(s.key, want)
	}
	addr := ln.Addr()
	ln = netutil.LimitListener(ln, s.conns)
	if s.trusted.Load() != nil {
		ln = &proxyproto.Listener{Listener: ln, ConnPolicy: s.policy, ReadHeaderTimeout: headTimeout}
	}
	if s.certs == nil {
		ln = plainListener{ln}
	}
	s.ln = ln
	s.logger.Info(s.name+" listening", "addr", addr.String(), "tls", s.certs != nil)
	return nil
}

// policy asks for the PROXY header where it is believed and leaves everybody
// else's bytes alone: a header from them is a malformed request.
func (s *Server) policy(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
	peer, ok := o.Upstream.(*net.TCPAddr)
	if !ok {
		return proxyproto.SKIP, nil
	}
	ip := peer.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range *s.trusted.Load() {
		if p.Contains(ip) {
			return proxyproto.REQUIRE, nil
		}
	}
	return proxyproto.SKIP, nil
}

// Addr is the bound address, after Open.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Run serves until Shutdown or Close; it blocks.
func (s *Server) Run() error {
	var err error
	if s.certs != nil {
		err = s.http.ServeTLS(s.ln, "", "")
	} else {
		err = s.http.Serve(s.ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
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
	if s.ln != nil {
		s.ln.Close() // Close knows only listeners that Run has begun to serve
	}
	return err
}
