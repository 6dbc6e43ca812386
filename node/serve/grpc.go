package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/keepalive"
)

// The bounds of the gRPC listener. At most 64 × 128 messages are held at a time, of 96 KiB
// each: 768 MiB if every asking proxy sends nothing but large heads and stops in the middle.
// One that is at work sends some KiB, and each is answered within milliseconds.
const (
	maxGRPCConns   = 64       // further ones wait until one closes
	maxGRPCStreams = 128      // of one connection; Envoy opens another one beyond that
	maxGRPCMessage = 96 << 10 // bytes: a head of 32 KiB, which a message may hold twice, and what is told beside it

	grpcPing  = time.Minute // without a message, after which a connection is asked whether it is alive
	grpcIdle  = 5 * time.Minute
	grpcAge   = 30 * time.Minute // after which a connection is replaced, so that no stream stays for ever
	grpcGrace = 10 * time.Second // for the calls of a connection that is replaced
	grpcFloor = 5 * time.Second  // between two pings of a client
	strangers = time.Minute      // between two lines in the log about peers that may not ask
)

// GRPCConfig describes the listener for gRPC.
type GRPCConfig struct {
	Addr      string         // HOST:PORT
	Certs     *Certificates  // nil serves plaintext
	From      []netip.Prefix // peers that are served besides this machine; others are turned away
	Register  func(grpc.ServiceRegistrar)
	Intercept grpc.UnaryServerInterceptor
	Logger    *slog.Logger
}

// GRPC is the listener for gRPC.
type GRPC struct {
	cfg    GRPCConfig
	server *grpc.Server
	ln     net.Listener // set by Open
}

// The log of the gRPC library is text of its own form on stderr; errors that matter come back
// from calls.
func init() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) }

// NewGRPC returns a listener, which is not bound yet.
func NewGRPC(c GRPCConfig) *GRPC {
	options := []grpc.ServerOption{
		grpc.ConnectionTimeout(HeadTimeout), grpc.MaxConcurrentStreams(maxGRPCStreams), grpc.MaxRecvMsgSize(maxGRPCMessage), grpc.MaxHeaderListSize(16 << 10),
		grpc.UnaryInterceptor(c.Intercept),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: grpcIdle, MaxConnectionAge: grpcAge, MaxConnectionAgeGrace: grpcGrace, Time: grpcPing, Timeout: HeadTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: grpcFloor, PermitWithoutStream: true}),
	}
	if c.Certs != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(c.Certs.grpc())))
	}
	s := &GRPC{cfg: c, server: grpc.NewServer(options...)}
	c.Register(s.server)
	return s
}

// grpc is [Certificates.Config] for HTTP/2 alone, and never below TLS 1.3.
func (c *Certificates) grpc() *tls.Config {
	of := func() *tls.Config {
		out := c.current.Load().config.Clone()
		out.MinVersion, out.NextProtos = tls.VersionTLS13, []string{"h2"}
		return out
	}
	out := of()
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return of(), nil }
	return out
}

// Open binds the address and logs it. An error is a sentence for the operator that does not
// repeat the address.
func (s *GRPC) Open(ctx context.Context) error {
	ln, err := listen(ctx, s.cfg.Addr)
	if err != nil {
		return err
	}
	s.ln = netutil.LimitListener(&known{Listener: ln, from: s.cfg.From, logger: s.cfg.Logger}, maxGRPCConns)
	s.cfg.Logger.Info("grpc listening", "addr", ln.Addr().String(), "tls", s.cfg.Certs != nil)
	return nil
}

// Addr is the bound address, after Open.
func (s *GRPC) Addr() net.Addr { return s.ln.Addr() }

// Run serves until Shutdown or Close; it blocks.
func (s *GRPC) Run() error {
	if err := s.server.Serve(s.ln); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Shutdown stops accepting and waits for calls in progress until ctx ends; then it cuts them
// off.
func (s *GRPC) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.server.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.server.Stop() // a handler that goes on holds GracefulStop up, and nothing else
		return ctx.Err()
	}
}

// Close stops at once.
func (s *GRPC) Close() error {
	s.server.Stop()
	if s.ln != nil {
		s.ln.Close() // Stop knows only listeners that Run has begun to serve
	}
	return nil
}

// known accepts connections of this machine and of the listed peers, and closes others before
// a byte is read.
type known struct {
	net.Listener
	from   []netip.Prefix
	logger *slog.Logger

	mu     sync.Mutex
	logged time.Time // the last line about a stranger; guarded by mu
}

func (l *known) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := addressOf(c.RemoteAddr())
		if peer.IsLoopback() || slices.ContainsFunc(l.from, func(p netip.Prefix) bool { return p.Contains(peer) }) {
			return c, nil
		}
		c.Close()
		l.tell(peer)
	}
}

func (l *known) tell(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.logged) < strangers {
		return
	}
	l.logged = time.Now()
	l.logger.Warn("a connection by gRPC was closed: the peer is not in doors.forward_auth_from", "addr", peer.String())
}
