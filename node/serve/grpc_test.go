package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/perfgate/perfgate/store/logtest"
)

// pausing answers health checks once its channel is closed.
type pausing struct {
	health.UnimplementedHealthServer
	begun, end chan struct{}
}

func (w pausing) Check(context.Context, *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	if w.begun != nil {
		close(w.begun)
		<-w.end
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func startGRPC(t *testing.T, change func(*GRPCConfig), w pausing) *GRPC {
	t.Helper()
	c := GRPCConfig{
		Addr: "127.0.0.1:0", Register: func(s grpc.ServiceRegistrar) { health.RegisterHealthServer(s, w) }, Logger: slog.New(slog.DiscardHandler),
		Intercept: func(ctx context.Context, q any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			return next(ctx, q)
		},
	}
	change(&c)
	s := NewGRPC(c)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run() }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return s
}

func dialGRPC(t *testing.T, s *GRPC, creds credentials.TransportCredentials) health.HealthClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:"+s.Addr().String(), grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return health.NewHealthClient(conn)
}

// A message beyond the bound is refused, and the connection goes on.
func TestGRPCMessageBound(t *testing.T) {
	c := dialGRPC(t, startGRPC(t, func(*GRPCConfig) {}, pausing{}), insecure.NewCredentials())
	for _, tt := range []struct {
		size int
		want codes.Code
	}{{maxGRPCMessage - 100, codes.OK}, {maxGRPCMessage + 100, codes.ResourceExhausted}, {1, codes.OK}} {
		if _, err := c.Check(t.Context(), &health.HealthCheckRequest{Service: strings.Repeat("a", tt.size)}); status.Code(err) != tt.want {
			t.Errorf("%d bytes: %v", tt.size, err)
		}
	}
}

// The listener takes TLS 1.3 alone, also where the proxy's certificate would take TLS 1.2.
func TestGRPCTLS(t *testing.T) {
	from := pair(t, t.TempDir(), time.Now(), "localhost")
	from.TLS12 = true
	certs, err := OpenCertificates("proxy", from, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := startGRPC(t, func(c *GRPCConfig) { c.Certs = certs }, pausing{})
	roots := x509.NewCertPool()
	roots.AddCert(certs.Leaf())
	name := certs.Leaf().DNSNames[0]
	good := dialGRPC(t, s, credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: name}))
	if _, err := good.Check(t.Context(), &health.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	old, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name, MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}})
	if err == nil {
		old.Close()
		t.Error("TLS 1.2 is accepted")
	}
	if _, err := dialGRPC(t, s, insecure.NewCredentials()).Check(t.Context(), &health.HealthCheckRequest{}); err == nil {
		t.Error("plaintext is accepted")
	}
}

// peers is a listener whose connections come from these addresses, one each.
type peers struct {
	net.Listener
	addrs []string
	given []*peerConn
}

type peerConn struct {
	net.Conn
	addr   net.Addr
	closed bool
}

func (c *peerConn) RemoteAddr() net.Addr { return c.addr }
func (c *peerConn) Close() error         { c.closed = true; return nil }

func (p *peers) Accept() (net.Conn, error) {
	if len(p.addrs) == 0 {
		return nil, net.ErrClosed
	}
	c := &peerConn{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(p.addrs[0]), 1))}
	p.addrs, p.given = p.addrs[1:], append(p.given, c)
	return c, nil
}

// Only this machine and the listed peers get a connection; one line a minute tells of others.
func TestGRPCPeers(t *testing.T) {
	var log logtest.Log
	p := &peers{addrs: []string{"10.1.2.3", "127.0.0.1", "192.0.2.1", "::1", "::ffff:10.9.9.9", "2001:db8::1", "11.0.0.1"}}
	l := &known{Listener: p, from: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, logger: slog.New(slog.NewTextHandler(&log, nil))}
	var served []string
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		served = append(served, addressOf(c.RemoteAddr()).String())
	}
	if got := strings.Join(served, " "); got != "10.1.2.3 127.0.0.1 ::1 10.9.9.9" {
		t.Errorf("served are %s", got)
	}
	for _, c := range p.given {
		if allowed := strings.Contains(strings.Join(served, " ")+" ", addressOf(c.addr).String()+" "); c.closed == allowed {
			t.Errorf("%s: closed %v", c.addr, c.closed)
		}
	}
	if n := strings.Count(log.String(), "doors.forward_auth_from"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
}

// A shutdown lets a call in progress end, and cuts it off once its time is over.
func TestGRPCShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		w := pausing{begun: make(chan struct{}), end: make(chan struct{})}
		s := startGRPC(t, func(*GRPCConfig) {}, w)
		c := dialGRPC(t, s, insecure.NewCredentials())
		answered := make(chan error, 1)
		go func() {
			_, err := c.Check(t.Context(), &health.HealthCheckRequest{})
			answered <- err
		}()
		<-w.begun
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if !patient {
			cancel()
		}
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(ctx) }()
		if patient {
			for { // until nothing is accepted any more
				extra, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					break
				}
				extra.Close()
			}
			close(w.end)
			if err := <-answered; err != nil {
				t.Errorf("the call in progress: %v", err)
			}
		} else if err := <-answered; err == nil {
			t.Error("the call goes on beyond the time of the shutdown")
		}
		if !patient {
			close(w.end)
		}
		if err := <-down; (err == nil) != patient {
			t.Errorf("Shutdown = %v", err)
		}
		cancel()
	}
}
