package proxy

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// Gate decides and charges; *admit.Gate is one.
type Gate interface {
	Client(*http.Request) netip.Addr
	Check(r *http.Request, client netip.Addr, rule admit.Rule, now time.Time) (admit.Pass, *fault.Error)
	Charge(ctx context.Context, p *admit.Pass, units int64, reserve store.Money, now time.Time) *fault.Error
	Look(ctx context.Context, p *admit.Pass, now time.Time)
	Settle(p *admit.Pass, reserve, actual store.Money)
	Serving() *fault.Error
	Still(r *http.Request, p *admit.Pass, rule admit.Rule, now time.Time) *fault.Error
}

// Keys tells how a key stands now; *store.Store is one. nil, nil is unknown.
type Keys interface {
	Key(store.KeyID) (*store.Key, error)
}

// Observer is told of every request once it is over; *local.Local is one. It does
// not block and does not keep the value.
type Observer interface {
	Observe(*local.Observation)
}

// Settings are what a reload may change.
type Settings struct {
	Table     *Table
	Trusted   []netip.Prefix // peers whose X-Forwarded-* are passed on
	KeyHeader string         // a header besides Authorization that carries keys; "" for none
}

// Config is what a proxy is made of.
type Config struct {
	Settings
	Gate     Gate
	Keys     Keys
	Observer Observer
	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: no metrics
	Roots    *x509.CertPool        // that https upstreams are checked against; nil: the system's
}

// Proxy is the enforcing reverse proxy, an http.Handler.
type Proxy struct {
	gate     Gate
	observer Observer
	logger   *slog.Logger
	roots    *x509.CertPool
	metrics  *metrics
	none     *routeCounts // of requests that no route takes
	forward  Forwarder
	streams  *streams
	live     atomic.Pointer[live]

	costBuffers costBuffers
	inFlight    atomic.Int64
	tunnels     atomic.Int64
}

// live is one set of settings in use. It is immutable but for the state of its upstreams.
type live struct {
	table     *Table
	lanes     map[*route]*lane
	trusted   *bart.Lite // nil trusts nobody
	keyHeader string     // canonical
}

func (l *live) trusts(a netip.Addr) bool {
	return l.trusted != nil && a.IsValid() && l.trusted.Contains(a)
}

// New returns a proxy over c. It starts nothing.
func New(c Config) *Proxy {
	p := &Proxy{gate: c.Gate, observer: c.Observer, logger: c.Logger, roots: c.Roots, forward: newReverse(c.Logger)}
	p.metrics = newMetrics(c.Registry, p.inFlight.Load, p.tunnels.Load)
	p.none = p.metrics.of("")
	p.streams = &streams{
		keys: c.Keys, serving: c.Gate.Serving, now: time.Now, logger: c.Logger,
		longAfter: longAfter, sweepEvery: sweepEvery,
	}
	p.Reload(c.Settings)
	return p
}

// Reload swaps the settings. Requests under way finish with the old ones, whose
// idle connections are closed.
func (p *Proxy) Reload(s Settings) {
	l := &live{table: s.Table, lanes: make(map[*route]*lane, len(s.Table.routes)), keyHeader: http.CanonicalHeaderKey(s.KeyHeader)}
	for _, prefix := range s.Trusted {
		if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
		}
		if l.trusted == nil {
			l.trusted = new(bart.Lite)
		}
		l.trusted.Insert(prefix.Masked())
	}
	for _, r := range s.Table.routes {
		lane := &lane{route: r, counts: p.metrics.of(r.rule.Route)}
		for _, u := range r.upstreams {
			lane.upstreams = append(lane.upstreams, newUpstream(u, r.timeouts, p.roots, p.gate.Serving))
		}
		l.lanes[r] = lane
	}
	if old := p.live.Swap(l); old != nil {
		for _, lane := range old.lanes {
			for _, u := range lane.upstreams {
				u.close()
			}
		}
	}
}

// ServeHTTP takes one request through the steps of section 3 of the contract.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{proxy: p, live: p.live.Load(), r: r, id: requestID(w, r), start: time.Now()}
	x.w = &writer{ResponseWriter: w, x: x}
	x.rc = http.NewResponseController(w)
	p.inFlight.Add(1)
	var refused *fault.Error
	defer func() {
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			refused = x.panicked(v, debug.Stack())
		}
		p.end(x, refused)
		if v != nil && (v == http.ErrAbortHandler || x.aborted) {
			panic(http.ErrAbortHandler) // an answer that broke off must not look whole
		}
	}()
	if refused = p.serve(x); refused != nil && refused != errClientGone && x.w.status.Load() == 0 {
		if refused.Cause != nil && refused.Code.Status() >= 500 {
			p.logger.Warn("request failed", "request_id", x.id, "code", refused.Code, "error", refused.Cause)
		}
		if x.pass.Valid && x.pass.Limits.N == 0 {
			x.decided = time.Now()
			p.gate.Look(r.Context(), &x.pass, x.decided)
		}
		x.w.Header()[fault.RequestIDHeader] = []string{x.id}
		x.linger() // before it answers, the server reads some of what is left of the body
		fault.Write(x.w, r, refused)
	}
	x.linger()
}

// panicked logs a panic, which must not end more than its own request, and
// answers for it, unless an answer has begun.
func (x *exchange) panicked(v any, stack []byte) *fault.Error {
	x.proxy.logger.Error("panic in a request", "request_id", x.id, "panic", fmt.Sprint(v), "stack", string(stack))
	refused := fault.New(fault.Internal)
	if x.aborted = x.w.status.Load() != 0; !x.aborted {
		x.w.Header()[fault.RequestIDHeader] = []string{x.id}
		fault.Write(x.w, x.r, refused)
	}
	return refused
}

// serve is the order of things. It returns nil once a response has begun.
func (p *Proxy) serve(x *exchange) *fault.Error {
	x.client = p.gate.Client(x.r)
	encodedSlash, f := checkTarget(x.r)
	if f != nil {
		return f
	}
	route, preflight, allow := x.live.table.findRoute(x.r)
	switch {
	case route == nil && allow != "":
		return &fault.Error{Code: fault.MethodNotAllowed, Allow: allow}
	case route == nil:
		return fault.New(fault.NotFound)
	case encodedSlash && !route.encodedSlash:
		return fault.Newf(fault.InvalidRequest, "The path has an encoded slash.")
	}
	x.lane = x.live.lanes[route]
	ctx, cancel := context.WithCancelCause(context.WithValue(x.r.Context(), exchangeKey{}, x))
	x.cancel = cancel
	defer cancel(nil)

	open := route.rule.Public || preflight
	if !open {
		if x.pass, f = p.gate.Check(x.r, x.client, route.rule, x.start); f != nil {
			return f
		}
	}
	if x.r.ContentLength != 0 && x.r.Body != nil && x.r.Body != http.NoBody {
		x.body = newBody(x, x.r.Body, route.maxBody)
	}
	x.watch() // from here on others look at x: what they read is set
	if f = x.admitBody(open); f == nil && !open {
		x.decided = x.start
		if x.buffered != nil {
			x.decided = time.Now() // the body took its time
		}
		f = p.gate.Charge(ctx, &x.pass, route.units, x.reserve, x.decided)
		x.charged = f == nil
	}
	if f != nil {
		return f
	}
	return p.forward.Forward(x.w, x.request(ctx), x)
}

// still is the last look before an upstream is written to.
func (x *exchange) still() *fault.Error {
	if x.pass.Record == nil {
		return x.proxy.gate.Serving()
	}
	return x.proxy.gate.Still(x.r, &x.pass, x.lane.route.rule, time.Now())
}

// admitBody holds the body to the route's bound and, for a key, to its cost.
func (x *exchange) admitBody(open bool) *fault.Error {
	if bound := x.lane.route.maxBody; bound >= 0 && x.r.ContentLength > bound {
		return fault.New(fault.BodyTooLarge)
	}
	if open {
		return nil
	}
	return x.limitCost()
}

// request is what goes to the forwarder: the client's, with the body as admitted.
func (x *exchange) request(ctx context.Context) *http.Request {
	r := x.r.WithContext(ctx)
	switch {
	case x.buffered != nil:
		r.Body, r.ContentLength, r.TransferEncoding = bufferedBody(x.buffered), int64(len(x.buffered)), nil
	case x.body != nil:
		r.Body = x.body
	}
	return r
}

// end settles and reports a request, however it ended.
func (p *Proxy) end(x *exchange, refused *fault.Error) {
	x.finish()
	x.release()
	if x.charged && (x.reserve != 0 || x.cost != 0) {
		p.gate.Settle(&x.pass, x.reserve, x.cost)
	}
	p.inFlight.Add(-1)
	status := int(x.w.status.Load())
	if status == 0 {
		status = statusClientGone
	}
	took := time.Since(x.start)
	o := local.Observation{
		At: x.start, Duration: took, RequestID: x.id, Method: x.r.Method, Status: status,
		Client: x.client, UserAgent: x.r.UserAgent(), Hint: x.pass.Hint,
	}
	counts, name := p.none, ""
	if x.lane != nil {
		counts, name = x.lane.counts, x.lane.route.rule.Route
		o.Route = name
	}
	if rec := x.pass.Record; rec != nil {
		o.Key, o.Type = rec.ID, rec.Type
	}
	if x.pass.Account != nil {
		o.Account = x.pass.Account.ID
	}
	if x.charged {
		o.Units, o.Cost = x.lane.route.units, x.cost
	}
	if refused != nil && refused != errClientGone {
		p.metrics.refused(name, refused.Code)
		if !x.charged || refused.Code.Status() < 500 {
			o.Code = string(refused.Code) // an upstream's failure is no refusal
		}
	}
	counts.request(status, took, status == http.StatusSwitchingProtocols)
	p.observer.Observe(&o)
}

// requestID is the id that an outer handler gave, or the client's if it is fit, or a new one.
func requestID(w http.ResponseWriter, r *http.Request) string {
	if id := w.Header().Get(fault.RequestIDHeader); id != "" {
		return id
	}
	if v := r.Header[fault.RequestIDHeader]; len(v) == 1 && fitID(v[0]) {
		return v[0]
	}
	return apikey.NewID("req_")
}

func fitID(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 128
}

// InFlight is the number of requests under way, tunnels among them.
func (p *Proxy) InFlight() int64 { return p.inFlight.Load() }

// drainPoll is how often Drain looks whether it is done.
const drainPoll = 5 * time.Millisecond

// Drain waits until no request is under way. When ctx ends first, it cuts those
// that are left and become older than a second, tunnels first of all, and returns
// their number. New requests are not refused: that is the listener's affair.
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
