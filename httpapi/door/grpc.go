package door

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Limiter charges buckets that the asking proxy defines. [admit.Gate] implements it.
type Limiter interface {
	RateLimit(q *admit.RateRequest, now time.Time) (admit.RateAnswer, *fault.Error)
}

// GRPC answers Envoy: external authorization, rate limits and health. Until Set, it answers
// that the node is starting.
type GRPC struct {
	ready  func() error
	logger *slog.Logger
	to     atomic.Pointer[deciders]
}

type deciders struct {
	decider Decider
	limiter Limiter
}

// NewGRPC answers questions about health by ready.
func NewGRPC(ready func() error, logger *slog.Logger) *GRPC {
	return &GRPC{ready: ready, logger: logger}
}

// Set has d and l decide from now on.
func (g *GRPC) Set(d Decider, l Limiter) { g.to.Store(&deciders{d, l}) }

// Register adds the services to s.
func (g *GRPC) Register(s grpc.ServiceRegistrar) {
	auth.RegisterAuthorizationServer(s, checks{by: g})
	rls.RegisterRateLimitServiceServer(s, limits{by: g})
	grpc_health_v1.RegisterHealthServer(s, health{by: g})
}

func (g *GRPC) deciders() (*deciders, error) {
	if to := g.to.Load(); to != nil {
		return to, nil
	}
	return nil, status.Error(codes.Unavailable, "the node is starting; ask again in a moment")
}

// Intercept ends a call that panics with an error, and no other one.
func (g *GRPC) Intercept(ctx context.Context, q any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (a any, err error) {
	defer func() {
		if v := recover(); v != nil {
			g.logger.Error("panic in a question by gRPC", "method", info.FullMethod, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			a, err = nil, status.Error(codes.Internal, "the question failed; the log of perfgate has the reason")
		}
	}()
	return next(ctx, q)
}

// health is gRPC's protocol for load balancers. A node serves while it is ready, as /readyz
// tells.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	by *GRPC
}

// Check answers for the whole server and for each service alike.
func (h health) Check(_ context.Context, q *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	switch q.GetService() {
	case "", auth.Authorization_ServiceDesc.ServiceName, rls.RateLimitService_ServiceDesc.ServiceName:
	default:
		return nil, status.Error(codes.NotFound, "there is no such service")
	}
	state := grpc_health_v1.HealthCheckResponse_SERVING
	if h.by.to.Load() == nil || h.by.ready() != nil {
		state = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: state}, nil
}
