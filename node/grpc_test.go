package node

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/store/logtest"
)

// A node with doors.grpc_listen decides for Envoy by its own routes and keys, and tells whether it
// is ready.
func TestGRPCDoor(t *testing.T) {
	t.Parallel()
	path := configtest.File(t, "[doors]\ngrpc_listen = \"127.0.0.1:0\"\n[[proxy.routes]]\npath = \"/open\"\nupstreams = [\"http://127.0.0.1:9\"]\npublic = true\n[[proxy.routes]]\npath = \"/v1/\"\nupstreams = [\"http://127.0.0.1:9\"]\n")
	n := startLone(t, t.TempDir(), "--config", path)
	conn, err := grpc.NewClient("passthrough:"+n.grpc.server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for path, want := range map[string]int{"/open": 200, "/v1/keys": 401, "/none": 404} {
		a, err := auth.NewAuthorizationClient(conn).Check(t.Context(), &auth.CheckRequest{Attributes: &auth.AttributeContext{
			Source:  &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "192.0.2.1"}}}},
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: "GET", Host: "h", Path: path}},
		}})
		status := int(a.GetDeniedResponse().GetStatus().GetCode())
		if a.GetOkResponse() != nil {
			status = 200
		}
		if err != nil || status != want {
			t.Errorf("%s: %d, %v; want %d", path, status, err, want)
		}
	}
	for _, c := range []struct {
		draining bool
		want     health.HealthCheckResponse_ServingStatus
	}{{false, health.HealthCheckResponse_SERVING}, {true, health.HealthCheckResponse_NOT_SERVING}} {
		n.draining.Store(c.draining)
		if a, err := health.NewHealthClient(conn).Check(t.Context(), &health.HealthCheckRequest{}); err != nil || a.Status != c.want {
			t.Errorf("draining is %v: %v, %v", c.draining, a, err)
		}
	}
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", n.grpc.server.Addr().String()); err == nil {
		c.Close()
		t.Error("a node that has stopped listens")
	}
}

// An address for gRPC that is taken ends the start with a fault of its key.
func TestGRPCAddressTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	path := configtest.File(t, "[doors]\ngrpc_listen = \""+ln.Addr().String()+"\"")
	c := mustLoad(t, []string{"--config", path, "--data-dir", t.TempDir(), "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"})
	_, err = Open(t.Context(), Options{Config: c, Out: &logtest.Log{}, Version: "test", Exit: func(int) {}})
	if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "doors.grpc_listen = ") || !strings.Contains(err.Error(), "something else listens there") {
		t.Errorf("Open = %v", err)
	}
}

// The compliance report tells of the listener for gRPC: plaintext on loopback, else with the
// proxy's certificate and never below TLS 1.3.
func TestGRPCFacts(t *testing.T) {
	t.Parallel()
	pair := dated(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	c := *mustLoad(t, []string{"--config", configtest.File(t, tlsTable(pair)+"min_version = \"1.2\"\n"), "--data-dir", t.TempDir()})
	for addr, want := range map[string]manage.ListenerFacts{
		"127.0.0.1:1": {Name: "grpc", Table: "proxy.tls", Loopback: true},
		":1":          {Name: "grpc", Table: "proxy.tls", TLS: true, MinVersion: "1.3"},
	} {
		c.Doors.GRPCListen = addr
		certs, err := openCertificates(&c, "proxy", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{config: &c, bothListeners: bothListeners{proxyListener: &listener{name: "proxy", certs: certs}}}
		got := grpcFacts(n)
		if got.Ends.IsZero() == want.TLS {
			t.Errorf("%s: the certificate ends at %v", addr, got.Ends)
		}
		if got.Ends = (time.Time{}); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
}
