package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// sweeping is a rig whose long requests are judged only when a test says so.
func sweeping(t *testing.T, routes ...Route) *rig {
	r := newRig(t, Settings{}, routes...)
	r.streams.longAfter, r.streams.running = time.Millisecond, true // by the test itself
	return r
}

// await waits until n requests are entered among the streams.
func (r *rig) await(n int) {
	r.t.Helper()
	for limit := time.Now().Add(time.Minute); r.streams.len() < n; runtime.Gosched() {
		if time.Now().After(limit) {
			r.t.Fatalf("%d requests are among the streams after a minute, want %d", r.streams.len(), n)
		}
	}
}

// sweep judges all long requests once.
func (r *rig) sweep() {
	r.streams.mu.Lock()
	batch := r.streams.listLocked(nil)
	r.streams.mu.Unlock()
	r.streams.sweep(batch)
}

// A reload ends the long requests that the new routes refuse, and no others.
func TestReloadEndsStreams(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	other := backend(t, func(w http.ResponseWriter, _ *http.Request) {})
	to := []string{up}
	for name, c := range map[string]struct {
		before, after Route
		key           string // of the request
		want          fault.Code
	}{
		"nothing":               {Route{}, Route{}, "Bearer good", ""},
		"another upstream":      {Route{}, Route{Upstreams: []string{other}}, "Bearer good", ""},
		"other settings":        {Route{}, Route{Units: new(int64(7)), MaxBody: "1KiB", Headers: map[string]string{"A": "b"}}, "Bearer good", ""},
		"a wider path":          {Route{}, Route{Path: "/"}, "Bearer good", ""},
		"the path":              {Route{}, Route{Path: "/other"}, "Bearer good", fault.NotFound},
		"the host":              {Route{}, Route{Host: "elsewhere.test"}, "Bearer good", fault.NotFound},
		"the method":            {Route{}, Route{Methods: []string{"POST"}}, "Bearer good", fault.MethodNotAllowed},
		"a scope more":          {Route{}, Route{Require: []string{"gold"}}, "Bearer good", fault.InsufficientScope},
		"public now":            {Route{}, Route{Public: true}, "Bearer good", ""},
		"public, and gone":      {Route{Public: true}, Route{Path: "/other"}, "", fault.NotFound},
		"public as before":      {Route{Public: true}, Route{Public: true}, "", ""},
		"public no more":        {Route{Public: true}, Route{}, "", fault.MissingKey},
		"public, with a key":    {Route{Public: true}, Route{}, "Bearer good", ""},
		"public, with no right": {Route{Public: true}, Route{Require: []string{"gold"}}, "Bearer good", fault.InsufficientScope},
	} {
		t.Run(name, func(t *testing.T) {
			for _, route := range []*Route{&c.before, &c.after} {
				if route.Path == "" {
					route.Path = "/stream"
				}
				if route.Upstreams == nil {
					route.Upstreams = to
				}
			}
			rest := Route{Path: "/rest", Upstreams: to}
			r := sweeping(t, c.before, rest)
			r.do("GET", "/stream", "", "Authorization", c.key)
			r.do("GET", "/rest", "")
			r.await(2)
			r.sweep()
			r.Reload(Settings{Table: compile(t, c.after, rest)})
			for range 3 {
				r.sweep()
			}
			if c.want == "" {
				if r.InFlight() != 2 {
					t.Errorf("%d requests are in flight, want both", r.InFlight())
				}
				return
			}
			if o := r.log.next(t); o.Route != c.before.Path || r.InFlight() != 1 {
				t.Errorf("the request to %s has ended, %d are in flight", o.Route, r.InFlight())
			}
			if got := r.metric("perfgate_proxy_streams_cut_total", "code"); len(got) != 1 || got[string(c.want)] != 1 {
				t.Errorf("counted as %v, want %s", got, c.want)
			}
		})
	}
}

// Uploads and tunnels end, too, and a request that waits for its response's head is
// answered with the reason.
func TestReloadEndsTunnelsAndUploads(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else the server does not notice that the proxy has gone
		<-r.Context().Done()
	})
	r := sweeping(t, Route{Path: "/", Upstreams: []string{up}}, Route{Path: "/ws", Upstreams: []string{rawBackend(t, upgrading)}})
	_, br, _ := r.upgraded("")
	upload, uploaded := r.dial()
	io.WriteString(upload, "POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 9\r\n\r\nabc")
	waiting, answered := r.dial()
	io.WriteString(waiting, "GET /wait HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
	r.await(3)
	r.Reload(Settings{Table: compile(t, Route{Path: "/other", Upstreams: []string{up}})})
	r.sweep()
	if b, _ := io.ReadAll(br); string(b) != "hello " {
		t.Errorf("tunnel: %q", b)
	}
	for _, c := range []struct {
		conn net.Conn
		br   *bufio.Reader
	}{{upload, uploaded}, {waiting, answered}} {
		res, err := http.ReadResponse(c.br, nil)
		if err != nil || res.StatusCode != 404 || code(t, res) != fault.NotFound {
			t.Errorf("%v, %v", res, err)
		}
	}
	for range 3 {
		r.log.next(t)
	}
}

// After a reload, a request is judged by the rule of the new route, and a node that may
// not serve ends it with one sweep of grace, as before one.
func TestStreamsAfterAReload(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	public := Route{Path: "/open", Public: true, Upstreams: []string{up}}
	for name, c := range map[string]struct {
		lose   func(*rig)
		sweeps int
	}{
		"lost":     {func(r *rig) { r.gate.lost.Store(fault.New(fault.InvalidKey)) }, 1},
		"isolated": {func(r *rig) { r.gate.isolated.Store(true) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := sweeping(t, public)
			r.do("GET", "/open", "")
			r.await(1)
			var ruled []string
			r.streams.gate = judging{r.gate, func(req *h1.Request, p *admit.Pass, rule admit.Rule) *fault.Error {
				ruled = append(ruled, rule.Route)
				return r.gate.lost.Load()
			}}
			c.lose(r)
			r.sweep()
			r.sweep()
			if len(ruled) > 0 || r.InFlight() != 1 {
				t.Fatalf("a public request is judged: %v", ruled)
			}
			r.gate.isolated.Store(false)
			r.gate.lost.Store(nil)
			r.sweep()
			r.Reload(Settings{Table: compile(t, Route{Path: "/{any}", Upstreams: []string{up}})})
			r.sweep()
			if len(ruled) != 1 || ruled[0] != "/{any}" || r.InFlight() != 1 {
				t.Fatalf("judged by %v", ruled)
			}
			c.lose(r)
			for range c.sweeps - 1 {
				r.sweep()
			}
			if r.InFlight() != 1 {
				t.Error("ended too early")
			}
			r.sweep()
			if o := r.log.next(t); o.Route != "/open" {
				t.Errorf("%+v has ended", o)
			}
		})
	}
}
