package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// Config is what an [API] is made of. Store, Local, Gate, Backend, Logger and
// Registry are required.
type Config struct {
	Store    *store.Store
	Local    *local.Local
	Gate     *admit.Gate
	Backend  Backend
	Logger   *slog.Logger
	Registry *prometheus.Registry // read by /metrics; the API's own metrics go in too

	Node, Version string // of this node and of perfgate, for backups

	// SelfService lets keys use the [P] calls on the proxy listener.
	SelfService bool
	// MetricsOpen serves /metrics to anybody: the admin listener is on loopback.
	MetricsOpen bool
	SecurityTxt SecurityTxt

	// Client finds the client's address on the admin listener, whose trusted
	// proxies are its own; nil takes the gate's.
	Client func(*http.Request) netip.Addr
	// Clock tells wall and monotonic time (nanoseconds); nil is the machine's.
	Clock func() (time.Time, int64)
}

// API answers the management calls. It is safe for concurrent use.
type API struct {
	Config
	routes  *table
	metrics *metrics
	calls   *limiter.Buckets // of management, by key
	pending inFlight         // Idempotency-Keys being worked on here
	large   largeSlots
	backups atomic.Int32 // being sent
	prom    http.Handler
	docs    []byte
}

// New returns the API over cfg and registers its metrics.
func New(cfg Config) (*API, error) {
	if cfg.Clock == nil {
		start := time.Now()
		cfg.Clock = func() (time.Time, int64) {
			now := time.Now()
			return now, int64(now.Sub(start))
		}
	}
	a := &API{
		Config: cfg,
		calls:  limiter.NewBuckets(maxCallers),
		docs:   openAPI,
	}
	a.routes = newTable(a.table())
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("register the management API's metrics: %w", err)
	}
	a.metrics = m
	a.prom = promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{ErrorLog: promLog{cfg.Logger}})
	return a, nil
}

// promLog hands a failed collection to the log.
type promLog struct{ log *slog.Logger }

func (l promLog) Println(v ...any) { l.log.Warn("collect metrics", "error", fmt.Sprint(v...)) }

// Admin serves everything on the admin listener: all calls, for operator tokens
// and keys.
func (a *API) Admin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, param, allow := a.routes.find(r)
		switch {
		case rt != nil:
			a.serve(w, r, rt, param, true)
		case allow != "":
			a.refuse(w, r, &fault.Error{Code: fault.MethodNotAllowed, Allow: allow})
		default:
			a.refuse(w, r, fault.New(fault.NotFound))
		}
	})
}

// Proxy serves on the proxy listener: it takes the health and security.txt
// pages and, with SelfService, exactly the method-path pairs that the route table
// opens to keys there. Everything else, another method on the same path
// included, is next's.
func (a *API) Proxy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, param, _ := a.routes.find(r)
		if rt == nil || !a.takenFromProxy(rt, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		a.serve(w, r, rt, param, false)
	})
}

func (a *API) takenFromProxy(rt *route, method string) bool {
	switch {
	case rt.access&onProxy == 0:
		return false
	case rt.access&open != 0:
		return true
	}
	return a.SelfService && method == rt.method // HEAD is not GET here
}
