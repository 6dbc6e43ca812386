package proxy

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// Gate decides and charges. [admit.Gate] implements it, and documents each method.
type Gate interface {
	Client(*h1.Request) netip.Addr
	Preflight(netip.Addr) *fault.Error
	Check(ctx context.Context, r *h1.Request, client netip.Addr, rule admit.Rule, now time.Time) (admit.Pass, *fault.Error)
	Charge(ctx context.Context, p *admit.Pass, units int64, reserve store.Money, now time.Time) *fault.Error
	Look(ctx context.Context, p *admit.Pass, now time.Time)
	Settle(p *admit.Pass, reserve, actual store.Money)
	Refund(p *admit.Pass, units int64, reserve store.Money)
	Forgive(p *admit.Pass) bool
	Leave(p *admit.Pass)
	Serving() *fault.Error
	Still(r *h1.Request, p *admit.Pass, rule admit.Rule, now time.Time) *fault.Error
	Lost(r *h1.Request, p *admit.Pass, rule admit.Rule, now time.Time) *fault.Error
}

// Observer receives every request once it is over. It must not block or keep the
// value. [local.Local] implements it.
type Observer interface {
	Observe(*local.Observation)
}

// Settings are the part of a configuration that [Proxy.Reload] replaces.
type Settings struct {
	Table     *Table
	Trusted   []netip.Prefix // proxies whose X-Forwarded-* headers are kept
	KeyHeader string         // a header that carries keys, in addition to Authorization; "" for none
	// ClientIPHeader is the header in which trusted proxies report their client, as
	// the gate reads it; "" means X-Forwarded-For.
	ClientIPHeader string
	CountryHeader  string // in which trusted proxies send the client's country; "" reads none
}

// Config configures a [Proxy]. Roots, Registry and Bodies are optional.
type Config struct {
	Settings
	Node     string // id of this node, by which it recognizes its own requests; "" makes one up
	Gate     Gate
	Observer Observer
	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: no metrics
	Roots    *x509.CertPool        // to verify https upstreams; nil: the system's
	Bodies   *bodies.Memory        // for bodies that are read before they are forwarded; nil: one of [bodies.Max] bytes
}

// Proxy is the enforcing reverse proxy, an http.Handler.
type Proxy struct {
	// Set by New and never changed.
	gate     Gate
	observer Observer
	logger   *slog.Logger
	roots    *x509.CertPool
	metrics  *metrics
	none     *routeCounts // of requests that no route takes
	streams  *streams
	via      via
	bodies   *bodies.Memory // of bodies that are read before they are forwarded
	heldFor  func(announced, limit int64) time.Duration

	live atomic.Pointer[live] // replaced by Reload, loaded once by each request

	inFlight atomic.Int64
	tunnels  atomic.Int64
}

// live is one set of settings in use. It is immutable, except for the state of
// its upstreams, which is atomic.
type live struct {
	table     *Table
	lanes     map[*route]*lane
	way       admit.Forwarding
	keyHeader string // canonical
	country   string // header, canonical; "" for none
}

// New returns a proxy with the settings in c. It starts no goroutines.
func New(c Config) *Proxy {
	p := &Proxy{gate: c.Gate, observer: c.Observer, logger: c.Logger, roots: c.Roots, via: newVia(c.Node), bodies: c.Bodies, heldFor: bodies.Time}
	if p.bodies == nil {
		p.bodies = bodies.NewMemory(bodies.Max)
	}
	p.metrics = newMetrics(c.Registry, p)
	p.none = p.metrics.of("")
	p.streams = &streams{
		gate: c.Gate, now: time.Now, logger: c.Logger,
		longAfter: longAfter, sweepEvery: sweepEvery,
	}
	p.Reload(c.Settings)
	return p
}

// Reload replaces the settings. Requests in flight finish with the old ones, unless the
// new routes refuse them: those end like the ones of a key that lost its right. The old
// idle connections are closed.
func (p *Proxy) Reload(s Settings) {
	l := &live{table: s.Table, lanes: make(map[*route]*lane, len(s.Table.routes)), way: admit.NewForwarding(s.Trusted, s.ClientIPHeader), keyHeader: http.CanonicalHeaderKey(s.KeyHeader), country: http.CanonicalHeaderKey(s.CountryHeader)}
	for _, r := range s.Table.routes {
		lane := &lane{route: r, counts: p.metrics.of(r.rule.Route), seen: p.seenBefore(r)}
		for _, u := range r.upstreams {
			lane.upstreams = append(lane.upstreams, p.newUpstream(u, r))
		}
		l.lanes[r] = lane
	}
	if old := p.live.Swap(l); old != nil {
		p.metrics.forget(old, l)
		for _, lane := range old.lanes {
			for _, u := range lane.upstreams {
				u.transport.CloseIdleConnections()
			}
		}
	}
}

// seenBefore are the costs that a route of the same pattern and header has seen.
func (p *Proxy) seenBefore(r *route) *seenCosts {
	if old := p.live.Load(); old != nil {
		for was, lane := range old.lanes {
			if was.rule.Route == r.rule.Route && was.costHeader == r.costHeader {
				return lane.seen
			}
		}
	}
	return new(seenCosts)
}

// InFlight is the number of requests in flight, including tunnels.
func (p *Proxy) InFlight() int64 { return p.inFlight.Load() }

// drainPoll is how often Drain checks whether it is done.
const drainPoll = 5 * time.Millisecond

// Drain waits until no request is in flight. When ctx ends first, it cuts the
// long requests, those that reach the age of a second later included, and returns
// the number of requests left. It does not refuse new requests; the listener does.
func (p *Proxy) Drain(ctx context.Context) int64 {
	t := time.NewTicker(drainPoll)
	defer t.Stop()
	for p.inFlight.Load() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			left := p.inFlight.Load()
			p.streams.close(&fault.Error{Code: fault.Unavailable, RetryAfter: 1})
			return left
		}
	}
	return 0
}
