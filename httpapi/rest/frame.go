package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// Config holds the parts of a [Frame]. Bodies, Client and Clock may be nil, the
// others are required.
type Config struct {
	Store    *store.Store
	Gate     *admit.Gate
	Backend  Backend
	Observer Observer
	Logger   *slog.Logger
	Registry prometheus.Registerer // gets the frame's metrics

	// Bodies is the memory for the bodies of calls; nil is one of [bodies.Max] bytes.
	Bodies *bodies.Memory
	// Client finds the client's address on the admin listener, which has trusted
	// proxies of its own; nil takes the gate's.
	Client func(*http.Request) netip.Addr
	SignIn SignIn
	// Clock reads wall and monotonic time (nanoseconds); nil is the machine's.
	Clock func() (time.Time, int64)
}

// Observer takes every call that was answered, as [local.Local] does.
type Observer interface {
	Observe(*local.Observation)
}

// Frame serves routes. It is safe for concurrent use and has no goroutines, but a
// call with a streamed answer has one. Its fields are set by [New]; each of those that
// change has a lock of its own, and none is taken under another.
type Frame struct {
	cfg     Config
	metrics *metrics
	meters  meters   // of keys and accounts in management
	pending inFlight // Idempotency-Keys being worked on here
	large   Slots
	exports Slots
	tails   Slots
	recheck time.Duration // see recheckEvery
}

// New returns the frame over cfg and registers its metrics.
func New(cfg Config) (*Frame, error) {
	if cfg.Clock == nil {
		start := time.Now()
		cfg.Clock = func() (time.Time, int64) {
			now := time.Now()
			return now, int64(now.Sub(start))
		}
	}
	if cfg.Bodies == nil {
		cfg.Bodies = bodies.NewMemory(bodies.Max)
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("register the management API's metrics: %w", err)
	}
	return &Frame{cfg: cfg, metrics: m, meters: newMeters(), large: largeBodies(), exports: exports(), tails: tails(), recheck: recheckEvery}, nil
}

// Refuse answers a request that belongs to no route.
func (f *Frame) Refuse(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	SetHeaders(w.Header(), r)
	admit.WriteFault(w, r, e)
	f.metrics.count("none", e.Code.Status(), untimed)
}

// Serve takes a request that belongs to rt through identity, handler and answer,
// in that order. Param is the value of the path's variable segment; admin is true
// for a request on the admin listener.
func (f *Frame) Serve(w http.ResponseWriter, r *http.Request, rt *Route, param string, admin bool) {
	SetHeaders(w.Header(), r)
	c := &Call{Request: r, Route: rt, Param: param, Admin: admin, frame: f, w: &recorder{ResponseWriter: w}}
	var began int64
	c.Now, began = f.cfg.Clock()
	c.mono = began
	fault.Linger(w, r) // until a handler reads the body
	var failed *fault.Error
	defer func() {
		for i := len(c.done) - 1; i >= 0; i-- {
			c.done[i]()
		}
		if p := recover(); p != nil {
			failed = f.recovered(c, p)
		}
		_, end := f.cfg.Clock()
		took := time.Duration(end - began)
		f.metrics.count(rt.ID, c.w.status, took)
		c.observe(failed, took)
	}()
	if failed = c.run(); failed != nil {
		if failed.Code == fault.Internal && r.Context().Err() == nil { // a client that has gone broke it off itself
			f.cfg.Logger.Error("management call failed", "call", rt.ID, "request_id", c.RequestID(), "error", failed.Cause)
		}
		if c.Answered() {
			panic(http.ErrAbortHandler) // an answer that broke off must not look whole
		}
		w.Header().Del("Content-Disposition") // the fault is no attachment
		admit.WriteFault(c.w, r, failed)
	}
}

// recovered ends a call after a panic of its handler: with a fault, or if the
// answer has begun, by cutting it off.
func (f *Frame) recovered(c *Call, p any) *fault.Error {
	if p == http.ErrAbortHandler {
		f.metrics.count(c.Route.ID, 499, untimed)
		panic(p)
	}
	f.cfg.Logger.Error("panic in a management call", "call", c.Route.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if c.Answered() {
		panic(http.ErrAbortHandler)
	}
	failed := fault.New(fault.Internal)
	admit.WriteFault(c.w, c.Request, failed)
	return failed
}
