package proxy

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
	"github.com/perfgate/perfgate/store/logtest"
)

// testGate admits "Bearer good" and nothing else, and counts its calls.
type testGate struct {
	rec       store.Record
	charge    atomic.Pointer[fault.Error]
	preflight atomic.Pointer[fault.Error]
	isolated  atomic.Bool
	// unforgiving is set when no more refused bodies are refunded.
	unforgiving atomic.Bool
	mu          sync.Mutex
	units       int64
	reserved    store.Money
	settled     store.Money
	looks       int
	client      func(*http.Request) netip.Addr // nil: the peer
	still       func(*admit.Pass) *fault.Error // nil: nothing has changed
	lost        atomic.Pointer[fault.Error]    // of requests under way
}

func (g *testGate) Leave(*admit.Pass) {}

func (g *testGate) Client(r *h1.Request) netip.Addr {
	if g.client != nil {
		return g.client(&http.Request{RemoteAddr: r.Remote, Header: r.Fields.Header()})
	}
	return peerAddr(r)
}

func (g *testGate) Check(_ context.Context, r *h1.Request, client netip.Addr, rule admit.Rule, now time.Time) (admit.Pass, *fault.Error) {
	p := admit.Pass{Client: client}
	sent := r.Fields.Get("Authorization")
	if key := r.Fields.Get("X-Api-Key"); key != "" && rule.PassAuthorization {
		sent, p.UpstreamsOwn = "Bearer "+key, true
	}
	switch sent {
	case "":
		return p, fault.New(fault.MissingKey)
	case "Bearer good":
	default:
		return p, fault.New(fault.InvalidKey)
	}
	p.Record, p.Valid = &g.rec, true
	p.Account = &store.AccountState{Account: store.Account{ID: "acct_a"}}
	if admit.KeyInQuery(r.Query) {
		return p, fault.New(fault.KeyInQuery)
	}
	if len(rule.Require) > 0 {
		p.Limits = limiter.Decision{N: 1} // the real gate looks at the limits for these
		p.Limits.States[0] = limiter.State{Policy: limiter.Minute, Limit: 60, Remaining: 45, Reset: int64(15 * time.Second)}
		return p, fault.New(fault.InsufficientScope)
	}
	return p, nil
}

func (g *testGate) Preflight(netip.Addr) *fault.Error { return g.preflight.Load() }

func (g *testGate) limits(p *admit.Pass) {
	p.Limits = limiter.Decision{Allowed: true, N: 1}
	p.Limits.States[0] = limiter.State{Policy: limiter.Minute, Limit: 60, Remaining: 45, Reset: int64(15 * time.Second)}
}

func (g *testGate) Charge(_ context.Context, p *admit.Pass, units int64, reserve store.Money, _ time.Time) *fault.Error {
	g.limits(p)
	if f := g.charge.Load(); f != nil {
		return f
	}
	g.mu.Lock()
	g.units += units
	g.reserved += reserve
	g.mu.Unlock()
	return nil
}

func (g *testGate) Look(_ context.Context, p *admit.Pass, _ time.Time) {
	g.mu.Lock()
	g.looks++
	g.mu.Unlock()
	g.limits(p)
}

func (g *testGate) Settle(_ *admit.Pass, reserve, actual store.Money) {
	g.mu.Lock()
	g.settled += actual - reserve
	g.mu.Unlock()
}

func (g *testGate) Refund(_ *admit.Pass, units int64, reserve store.Money) {
	g.mu.Lock()
	g.units -= units
	g.settled -= reserve
	g.mu.Unlock()
}

func (g *testGate) Forgive(*admit.Pass) bool { return !g.unforgiving.Load() }

func (g *testGate) Serving() *fault.Error {
	if g.isolated.Load() {
		return fault.New(fault.NodeIsolated)
	}
	return nil
}

func (g *testGate) Still(_ *h1.Request, p *admit.Pass, _ admit.Rule, _ time.Time) *fault.Error {
	if g.still != nil {
		if f := g.still(p); f != nil {
			return f
		}
	}
	return g.Serving()
}

func (g *testGate) Lost(*h1.Request, *admit.Pass, admit.Rule, time.Time) *fault.Error {
	return g.lost.Load()
}

func (g *testGate) money() (units int64, reserved, settled store.Money) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.units, g.reserved, g.settled
}

// testLog keeps observations.
type testLog struct{ seen chan local.Observation }

func (l *testLog) Observe(o *local.Observation) {
	select {
	case l.seen <- *o:
	default:
	}
}

func (l *testLog) next(t *testing.T) local.Observation {
	t.Helper()
	select {
	case o := <-l.seen:
		return o
	case <-time.After(time.Minute):
		t.Fatal("no observation within a minute")
		panic("unreachable")
	}
}

// rig is a proxy on a loopback listener.
type rig struct {
	*Proxy
	t    *testing.T
	gate *testGate
	log  *testLog
	reg  *prometheus.Registry
	srv  *apitest.Endpoint
	out  logtest.Log
}

func newRig(t *testing.T, settings Settings, routes ...Route) *rig {
	t.Helper()
	r := &rig{t: t, gate: &testGate{}, log: &testLog{seen: make(chan local.Observation, 4096)}, reg: prometheus.NewRegistry()}
	r.gate.rec = store.Record{ID: "key_1", Type: store.Live, Scopes: store.ScopeRead | store.ScopeWrite, Extra: &store.Extra{Custom: []string{"fast"}}}
	settings.Table = compile(t, routes...)
	r.Proxy = New(Config{
		Settings: settings, Gate: r.gate, Observer: r.log, Registry: r.reg,
		Logger: slog.New(slog.NewTextHandler(&r.out, nil)),
	})
	r.srv = apitest.Serve(t, r.Proxy)
	return r
}

func compile(t *testing.T, routes ...Route) *Table {
	t.Helper()
	table, err := Compile(routes, func(name string) (string, bool) { return "secret-of-" + name, name != "MISSING" })
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// backend starts an upstream.
func backend(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// do sends a request with the good key, unless header says something else of it.
func (r *rig) do(method, path, body string, header ...string) *http.Response {
	r.t.Helper()
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, r.srv.URL+path, b)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { res.Body.Close() })
	return res
}

// dial opens a raw connection to the proxy, with a deadline that ends a test that hangs.
func (r *rig) dial() (net.Conn, *bufio.Reader) {
	r.t.Helper()
	u, _ := url.Parse(r.srv.URL)
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	r.t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

// raw sends bytes and reads the head of one response.
func (r *rig) raw(send string) *http.Response {
	r.t.Helper()
	c, br := r.dial()
	io.WriteString(c, send)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		r.t.Fatalf("no response to %q: %v", send, err)
	}
	return res
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	return string(b)
}

func code(t *testing.T, res *http.Response) fault.Code {
	t.Helper()
	res.Request = &http.Request{URL: &url.URL{}}
	return fault.Decode(res).Code
}

func limited(h http.Header) bool {
	for name := range h {
		if strings.EqualFold(name, "X-RateLimit-Limit") {
			return true
		}
	}
	return false
}

// within waits for ch, and fails with its purpose if that takes too long.
func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", what)
		panic("unreachable")
	}
}

// rawBackend answers each connection with serve.
func rawBackend(t *testing.T, serve func(c net.Conn, br *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
