package proxy

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store/local"
)

// ServeHTTP takes one request through the steps that the package's documentation
// lists: begin, process, end.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := p.begin(w, r, time.Now())
	var refused *fault.Error
	defer func() {
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			refused = x.panicked(v, debug.Stack())
		}
		p.end(x, refused)
		if v != nil && (v == http.ErrAbortHandler || x.aborted) || x.w.status.Load() == 0 {
			panic(http.ErrAbortHandler) // a response that broke off must not look complete
		}
	}()
	if refused = p.process(x); refused != nil {
		x.settle(refused) // before the client can act on the answer
		x.refuse(refused)
	}
	x.linger()
}

// begin takes one view of the settings, for the whole of the request.
func (p *Proxy) begin(w http.ResponseWriter, r *http.Request, now time.Time) *exchange {
	x := &exchange{proxy: p, live: p.live.Load(), r: r, id: requestID(w, r), progress: progress{start: now}}
	x.decided = now // a refusal before the charge shows limits too
	x.w = &writer{ResponseWriter: w, x: x}
	x.rc = http.NewResponseController(w)
	p.inFlight.Add(1)
	return x
}

// process admits the request and forwards it. The first step that fails ends it.
// It returns nil once a response has begun.
func (p *Proxy) process(x *exchange) *fault.Error {
	if f := x.findRoute(); f != nil {
		return f
	}
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	x.cancel = cancel
	if f := x.check(); f != nil {
		return f
	}
	x.openBody()
	x.watch() // from here on, other goroutines use x: the fields they read are set
	if f := x.admitBody(); f != nil {
		return f
	}
	if f := x.charge(ctx); f != nil {
		return f
	}
	return p.forwarder.forward(x, x.request(ctx))
}

// findRoute finds the client's address and the route, by the request line as
// it was sent.
func (x *exchange) findRoute() *fault.Error {
	x.client = x.proxy.gate.Client(x.r)
	x.path = x.r.URL.EscapedPath()
	route, preflight, f := x.live.table.find(x.r)
	if f != nil {
		if apikey.Holds(x.path) {
			x.path = ""
		}
		return f
	}
	x.lane = x.live.lanes[route]
	if f := admit.CheckLength(x.r); f != nil {
		return f
	}
	if x.proxy.via.loops(x.r.Header["Via"]) {
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
		if admit.KeyInQuery(x.r.URL.RawQuery) {
			return fault.New(fault.KeyInQuery)
		}
		return nil
	}
	x.pass, f = x.proxy.gate.Check(x.r, x.client, x.lane.route.rule, x.start)
	return f
}

// openBody puts the client's body under the route's bound and under watch.
func (x *exchange) openBody() {
	if x.r.ContentLength != 0 && x.r.Body != nil && x.r.Body != http.NoBody {
		x.body = newBody(x, x.r.Body, x.lane.route.maxBody)
	}
}

// admitBody refuses a body that announces more than the route allows or a trailer that
// cannot be, and, of a key, a call that may cost more than it is allowed to.
func (x *exchange) admitBody() *fault.Error {
	if bound := x.lane.route.maxBody; bound >= 0 && x.r.ContentLength > bound {
		return fault.New(fault.BodyTooLarge)
	}
	if x.body != nil && !validTrailers(x.r.Trailer) {
		return fault.Newf(fault.InvalidRequest, "The header Trailer has a name that no trailer may have.")
	}
	if x.open {
		return nil
	}
	return x.limitCost()
}

// charge takes the request's units and the reserve of its budget, all or none.
func (x *exchange) charge(ctx context.Context) *fault.Error {
	if x.open {
		return nil
	}
	x.decided = x.start
	if x.buffered != nil {
		x.decided = time.Now() // reading the body took time
	}
	f := x.proxy.gate.Charge(ctx, &x.pass, x.lane.route.units, x.reserve, x.decided)
	x.charged = f == nil
	return f
}

// request is the client's request with the body as it was admitted.
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
	if x.w.status.Load() != 0 {
		return
	}
	if f.Cause != nil && f.Code.Status() >= 500 {
		x.proxy.logger.Warn("request failed", "request_id", x.id, "route", x.routeName(), "code", f.Code, "attempts", x.attempts, "error", f.Cause)
	}
	if x.pass.Valid && x.pass.Limits.N == 0 {
		x.decided = time.Now()
		x.proxy.gate.Look(x.r.Context(), &x.pass, x.decided)
	}
	x.w.Header()[fault.RequestIDHeader] = []string{x.id}
	if f == errClientGone && x.r.ProtoMajor == 1 {
		x.w.Header()["Connection"] = []string{"close"}
	}
	admit.WriteFault(x.w, x.r, f)
}

// panicked logs a panic, which must not end more than its own request, and
// answers with an internal error unless a response has begun.
func (x *exchange) panicked(v any, stack []byte) *fault.Error {
	x.proxy.logger.Error("panic in a request", "request_id", x.id, "panic", fmt.Sprint(v), "stack", string(stack))
	f := fault.New(fault.Internal)
	if x.aborted = x.w.status.Load() != 0; !x.aborted {
		x.w.Header()[fault.RequestIDHeader] = []string{x.id}
		admit.WriteFault(x.w, x.r, f)
	}
	return f
}

// stamp sets the headers that every response of the proxy carries.
func (x *exchange) stamp(h http.Header) {
	h[fault.RequestIDHeader] = []string{x.id}
	if x.pass.Valid {
		admit.SetLimitHeaders(h, &x.pass.Limits, x.decided)
	}
}

// end settles and reports a request, however it ended.
func (p *Proxy) end(x *exchange, refused *fault.Error) {
	x.finish()
	x.held.Release()
	x.settle(refused)
	p.inFlight.Add(-1)
	p.report(x, refused)
}

// report counts a request that is over and passes it to the observer.
func (p *Proxy) report(x *exchange, refused *fault.Error) {
	status := int(x.w.status.Load())
	if status == 0 || refused == errClientGone {
		status = statusClientGone
	}
	took := time.Since(x.start)
	o := local.Observation{
		At: x.start, Duration: took, RequestID: x.id, Method: apikey.Mask(x.r.Method), Status: status,
		Client: x.client, UserAgent: apikey.Mask(x.r.UserAgent()), Hint: x.pass.Hint,
		Trail: local.Trail{Path: x.path, Attempts: x.attempts, Sent: x.w.sent},
	}
	if x.upstream != nil {
		o.Upstream = x.upstream.name
	}
	counts, name := p.none, x.routeName()
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
	if refused != nil && refused != errClientGone {
		p.metrics.refused(name, refused.Code)
		if !x.charged || refused.Code.Status() < 500 {
			o.Code = string(refused.Code)
		} else {
			o.Failure = string(refused.Code) // a failure of the upstream is not a refusal
		}
	}
	counts.request(status, took, status == http.StatusSwitchingProtocols)
	p.observer.Observe(&o)
}

// routeName is the path of the route of x, as configured; "" if none was found.
func (x *exchange) routeName() string {
	if x.lane == nil {
		return ""
	}
	return x.lane.route.rule.Route
}

// requestID is the id that an outer handler set, or else [admit.RequestID].
func requestID(w http.ResponseWriter, r *http.Request) string {
	if id := w.Header().Get(fault.RequestIDHeader); id != "" {
		return id
	}
	return admit.RequestID(r)
}
