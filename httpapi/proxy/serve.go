package proxy

import (
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store/local"
)

// ServeHTTP serves a request that net/http has read, over HTTP/2.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := newStream(w, r)
	p.serve(s, s.head, requestID(w, &s.head.Fields))
}

// Serve serves a request of HTTP/1.1.
func (p *Proxy) Serve(x *h1.Exchange) {
	q := x.Request()
	p.serve(x, q, admit.RequestID(q.Fields.Values(fault.RequestIDHeader)))
}

// serve takes one request through the steps that the package's documentation
// lists: begin, process, end.
func (p *Proxy) serve(down downstream, r *h1.Request, id string) {
	x := p.begin(down, r, id, time.Now())
	var refused *fault.Error
	defer func() {
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			refused = x.panicked(v, debug.Stack())
		}
		p.end(x, refused)
		broken := v != nil && (v == http.ErrAbortHandler || x.aborted) || x.status.Load() == 0
		x.release(v != nil)
		if broken {
			panic(http.ErrAbortHandler) // a response that broke off must not look complete
		}
	}()
	if refused = p.process(x); refused != nil {
		x.settle(refused) // before the client can act on the answer
		x.refuse(refused)
	}
}

// exchanges are kept for other requests.
var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.onConnected, x.onInterim, x.onLeave = x.connected, x.interim, x.life.left
	return x
}}

// begin takes one view of the settings, for the whole of the request.
func (p *Proxy) begin(down downstream, r *h1.Request, id string, now time.Time) *exchange {
	x := exchanges.Get().(*exchange)
	x.proxy, x.live, x.down, x.r, x.id = p, p.live.Load(), down, r, id
	x.start, x.decided = now, now // a refusal before the charge shows limits too
	x.life.values = down.Context()
	p.inFlight.Add(1)
	return x
}

// release keeps x for another request, unless it has panicked or a goroutine may know it:
// the sweeper of streams, one that reads or sends a body, or one that waits for x.life.
func (x *exchange) release(panicked bool) {
	if panicked || x.long || x.conn != nil || x.buffered != nil || x.body != nil && x.attempts == 0 || x.attempts > 1 || x.attempts == 1 && !x.first.Reusable() || !x.life.renew() {
		x.stopTimer()
		return
	}
	x.first.Reset()
	x.proxy, x.live, x.down, x.r, x.id = nil, nil, nil, nil, ""
	x.client, x.lane, x.open, x.pass, x.ruling = netip.Addr{}, nil, false, admit.Pass{}, ruling{}
	x.charges.reset()
	x.payload, x.trail = payload{}, trail{}
	x.last.Store(0)
	x.head.Store(false)
	x.status.Store(0)
	x.bytes, x.aborted = 0, false
	x.mu.Lock()
	x.watched, x.ended, x.killed = false, false, false
	x.mu.Unlock()
	exchanges.Put(x)
}

// process admits the request and forwards it. The first step that fails ends it.
// It returns nil once a response has begun.
func (p *Proxy) process(x *exchange) *fault.Error {
	if f := x.findRoute(); f != nil {
		return f
	}
	x.down.OnLeave(x.onLeave)
	if f := x.check(); f != nil {
		return f
	}
	x.openBody()
	x.watch() // from here on, other goroutines use x: the fields they read are set
	if f := x.charge(); f != nil {
		return f
	}
	if _, only := x.down.(*asked); only {
		return grant(x)
	}
	return x.forward()
}

// findRoute finds the client's address and the route, by the request line as
// it was sent.
func (x *exchange) findRoute() *fault.Error {
	x.client = x.proxy.gate.Client(x.r)
	x.path = x.r.Path
	route, preflight, f := x.live.table.find(x.r)
	if f != nil {
		if apikey.Holds(x.path) {
			x.path = ""
		}
		return f
	}
	x.lane = x.live.lanes[route]
	if x.proxy.via.loops(x.r.Fields.Values("Via")) {
		return fault.New(fault.LoopDetected)
	}
	x.open = route.rule.Public || preflight
	if preflight && !route.rule.Public {
		return x.proxy.gate.Preflight(x.client)
	}
	return nil
}

// check has the gate judge the credential and everything that the key allows.
func (x *exchange) check() (f *fault.Error) {
	if x.open {
		if admit.KeyInQuery(x.r.Query) {
			return fault.New(fault.KeyInQuery)
		}
		return nil
	}
	x.pass, f = x.proxy.gate.Check(&x.life, x.r, x.client, x.lane.route.rule, x.start)
	return f
}

// openBody puts the client's body under the route's bound and under watch.
func (x *exchange) openBody() {
	if x.r.Length == 0 {
		return
	}
	if body := x.down.Body(); body != nil {
		x.body = newBody(x, body, x.lane.route.maxBody)
	}
}

// admitBody refuses a body that announces more than the route allows or a trailer that
// cannot be, and, of a key, a call that may cost more than it is allowed to.
func (x *exchange) admitBody() *fault.Error {
	if bound := x.lane.route.maxBody; bound >= 0 && x.r.Length > bound {
		return fault.New(fault.BodyTooLarge)
	}
	if x.body != nil && !validTrailers(x.r) {
		return fault.Newf(fault.InvalidRequest, "The header Trailer has a name that no trailer may have.")
	}
	if x.open {
		return nil
	}
	return x.limitCost()
}

// charge takes the request's units and the reserve of its budget, all or none, once the
// bounds on the body and on the cost of the call are met.
func (x *exchange) charge() *fault.Error {
	if f := x.admitBody(); f != nil {
		return f
	}
	if x.open {
		return nil
	}
	x.decided = x.start
	if x.buffered != nil {
		x.decided = time.Now() // reading the body took time
	}
	f := x.proxy.gate.Charge(&x.life, &x.pass, x.lane.route.units, x.reserve, x.decided)
	x.charged = f == nil
	return f
}

// still is the last check before an upstream is written to: time has passed
// since the first one.
func (x *exchange) still() *fault.Error {
	if x.pass.Record == nil {
		return x.proxy.gate.Serving()
	}
	return x.proxy.gate.Still(x.r, &x.pass, x.lane.route.rule, time.Now())
}

// refuse answers with f, unless a response has begun or the client has gone.
func (x *exchange) refuse(f *fault.Error) {
	if x.status.Load() != 0 {
		return
	}
	if f.Cause != nil && f.Code.Status() >= 500 {
		x.proxy.logger.Warn("request failed", "request_id", x.id, "route", x.lane.name(), "code", f.Code, "attempts", x.attempts, "error", f.Cause)
	}
	if x.pass.Valid && x.pass.Limits.N == 0 && x.pass.Limits.Rules == nil {
		x.decided = time.Now()
		x.proxy.gate.Look(&x.life, &x.pass, x.decided)
	}
	x.answer(f)
}

// answer sends f.
func (x *exchange) answer(f *fault.Error) {
	a := admit.RenderFault(f, x.id, x.r.Fields.Values("Accept"))
	x.own.Reset()
	for _, field := range a.Fields {
		x.own.Add(field.Name, field.Value)
	}
	if f == errClientGone && x.r.Major == 1 {
		x.own.Add("Connection", "close")
	}
	x.proxy.gate.Leave(&x.pass)
	x.beginResponse(a.Status, &x.own, int64(len(a.Body)))
	if x.r.Method != http.MethodHead {
		n, _ := x.down.Write(a.Body) // a client that has gone needs no answer
		x.bytes += int64(n)
	}
}

// panicked logs a panic, which must not end more than its own request, and
// answers with an internal error unless a response has begun.
func (x *exchange) panicked(v any, stack []byte) *fault.Error {
	x.proxy.logger.Error("panic in a request", "request_id", x.id, "panic", fmt.Sprint(v), "stack", string(stack))
	f := fault.New(fault.Internal)
	if x.aborted = x.status.Load() != 0; !x.aborted {
		x.answer(f)
	}
	return f
}

// end settles and reports a request, however it ended.
func (p *Proxy) end(x *exchange, refused *fault.Error) {
	defer p.gate.Leave(&x.pass) // whatever else goes wrong
	x.finish()
	x.down.OnLeave(nil)
	x.held.Release()
	x.settle(refused)
	p.inFlight.Add(-1)
	p.report(x, refused)
}

// report counts a request that is over and passes it to the observer.
func (p *Proxy) report(x *exchange, refused *fault.Error) {
	status := int(x.status.Load())
	if status == 0 || refused == errClientGone {
		status = statusClientGone
	}
	took := time.Since(x.start)
	o := &x.seen
	*o = local.Observation{
		At: x.start, Duration: took, RequestID: x.id, Method: apikey.Mask(x.r.Method), Status: status,
		Client: x.client, UserAgent: apikey.Mask(x.r.Fields.Get("User-Agent")), Hint: x.pass.Hint,
		Trail: local.Trail{Country: x.live.countryOf(x.r), Path: x.path, Attempts: x.attempts, Sent: x.bytes},
	}
	if x.upstream != nil {
		o.Upstream = x.upstream.name
	}
	counts, name := p.none, x.lane.name()
	if x.lane != nil {
		counts, o.Route = x.lane.counts, name
	}
	if rec := x.pass.Record; rec != nil {
		o.Key, o.Type = rec.ID, rec.Type
	}
	if x.pass.Account != nil {
		o.Account = x.pass.Account.ID
	}
	if x.charged && !x.refunded {
		o.Units, o.Cost = x.lane.route.units, x.cost
	}
	if o.Limits = x.pass.EventLimits(refused); o.Limits != nil && len(o.Limits.WouldRefuse) > 0 {
		p.metrics.wouldRefuse.WithLabelValues(name).Inc()
	}
	if refused != nil && refused != errClientGone {
		p.metrics.refused(name, refused.Code)
		if !x.charged || refused.Code.Status() < 500 {
			o.Code = string(refused.Code)
		} else {
			o.Failure = string(refused.Code) // a failure of the upstream is not a refusal
		}
	}
	counts.request(status, took, status == http.StatusSwitchingProtocols)
	p.observer.Observe(o)
}

// requestID is the id that an outer handler set, or else [admit.RequestID].
func requestID(w http.ResponseWriter, f *h1.Fields) string {
	if id := w.Header().Get(fault.RequestIDHeader); id != "" {
		return id
	}
	return admit.RequestID(f.Values(fault.RequestIDHeader))
}
