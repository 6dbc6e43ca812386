package door

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3" // named in the sample
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/perfgate/perfgate/store/logtest"
)

// A node that starts refuses every question with an error that asks for patience, and is not
// healthy; so is one that does not get ready.
func TestGRPCStarting(t *testing.T) {
	ready := error(nil)
	g := NewGRPC(func() error { return ready }, slog.New(slog.DiscardHandler))
	if _, err := (checks{by: g}).Check(t.Context(), &auth.CheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("Check = %v", err)
	}
	if _, err := (limits{by: g}).ShouldRateLimit(t.Context(), &rls.RateLimitRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("ShouldRateLimit = %v", err)
	}
	for _, c := range []struct {
		set   bool
		ready error
		want  grpc_health_v1.HealthCheckResponse_ServingStatus
	}{
		{false, nil, grpc_health_v1.HealthCheckResponse_NOT_SERVING},
		{true, nil, grpc_health_v1.HealthCheckResponse_SERVING},
		{true, errors.New("draining"), grpc_health_v1.HealthCheckResponse_NOT_SERVING},
	} {
		if c.set {
			g.Set(nil, nil)
		}
		ready = c.ready
		for _, service := range []string{"", "envoy.service.auth.v3.Authorization", "envoy.service.ratelimit.v3.RateLimitService"} {
			a, err := health{by: g}.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
			if err != nil || a.Status != c.want {
				t.Errorf("set %v, ready %v: %q is %v, %v", c.set, c.ready, service, a, err)
			}
		}
	}
	if _, err := (health{by: g}).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
}

// A panic ends its own call alone, with an error that tells nothing of the reason.
func TestGRPCPanics(t *testing.T) {
	var log logtest.Log
	g := NewGRPC(nil, log.Logger())
	_, err := g.Intercept(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/a/b"}, func(context.Context, any) (any, error) { panic("a secret") })
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "a secret") || !log.Has("a secret") {
		t.Errorf("%v; the log has %s", err, log.String())
	}
}

// The sample of docs/doors.md is a configuration of Envoy: every name and type in it is one of
// Envoy's own.
func TestEnvoySample(t *testing.T) {
	page, err := os.ReadFile("../../docs/doors.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(static_resources:.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/doors.md has no sample for Envoy")
	}
	var tree any
	if err := yaml.Unmarshal(block[1], &tree); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var b bootstrap.Bootstrap
	if err := protojson.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if err := b.ValidateAll(); err != nil {
		t.Error(err)
	}
	if n := len(b.StaticResources.Clusters); n != 2 || b.StaticResources.Clusters[0].HealthChecks[0].GetGrpcHealthCheck() == nil {
		t.Errorf("%d clusters: %v", n, b.StaticResources.Clusters)
	}
}
