package proxy

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store/local"
)

// with returns the lines of the log that hold all of the texts.
func (r *rig) with(texts ...string) []string { return r.out.Lines(texts...) }

// gauge returns the values of a metric by the label upstream.
func (r *rig) gauge(name string) map[string]float64 {
	r.t.Helper()
	return r.metric(name, "upstream")
}

// metric returns the values of a metric by one of its labels.
func (r *rig) metric(name, label string) map[string]float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					out[l.GetValue()] += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return out
}

// broken returns an upstream that breaks every request off while down is set.
func broken(t *testing.T, down *atomic.Bool) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
	})
}

// A change of an upstream's state is one line, however many requests notice it,
// and a failed request is one line.
func TestStateChangesAreLoggedOnce(t *testing.T) {
	var down atomic.Bool
	up := broken(t, &down)
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Retries: new(int)})
	ended := func(requests int) { // a request is logged and observed after its answer
		t.Helper()
		for range requests {
			r.log.next(t)
		}
	}
	r.do("GET", "/", "")
	ended(1)
	if got := r.gauge("perfgate_upstream_up")[up]; got != 1 || len(r.with("")) != 0 {
		t.Fatalf("up %v, log %q", got, r.with(""))
	}
	for round := 1; round <= 2; round++ {
		down.Store(true)
		const n = 12
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if res := r.do("GET", "/", ""); res.StatusCode != 502 {
					t.Errorf("status %d", res.StatusCode)
				}
			})
		}
		all.Wait()
		ended(n)
		if got := r.gauge("perfgate_upstream_up")[up]; got != 0 {
			t.Errorf("round %d: up %v while down", round, got)
		}
		if got := r.with("level=WARN", `msg="an upstream is down"`, "route=/", "upstream="+up, "failures=", "error="); len(got) != round {
			t.Errorf("round %d: %q", round, got)
		}
		if got := r.with("level=WARN", `msg="request failed"`, "code=upstream_unreachable", "attempts=1"); len(got) != n*round {
			t.Errorf("round %d: %d lines of failed requests, want %d", round, len(got), n*round)
		}
		down.Store(false)
		for range 3 {
			r.do("GET", "/", "")
		}
		ended(3)
		if got := r.with("level=INFO", `msg="an upstream is up again"`, "upstream="+up, "down_for="); len(got) != round {
			t.Errorf("round %d: %q", round, got)
		}
		if got := r.gauge("perfgate_upstream_up")[up]; got != 1 {
			t.Errorf("round %d: up %v", round, got)
		}
	}
	if got := r.with(""); len(got) != 2*(2+12) {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

// A request whose attempts all failed is one line, with their number; one that
// was rescued by another upstream is none.
func TestOneLineForARequest(t *testing.T) {
	good := backend(t, func(w http.ResponseWriter, r *http.Request) {})
	r := newRig(t, Settings{}, Route{Path: "/dead/", Upstreams: []string{closedPort(t), closedPort(t)}},
		Route{Path: "/half/", Upstreams: []string{closedPort(t), good}})
	for range 2 {
		r.do("GET", "/half/", "")
		r.log.next(t) // a request is logged and observed after its answer
	}
	if got := r.with(""); len(got) != 0 {
		t.Errorf("%q", got)
	}
	res := r.do("GET", "/dead/", "")
	r.log.next(t)
	if got := r.with(""); len(got) != 1 || len(r.with("request_id="+res.Header.Get(fault.RequestIDHeader), "route=/dead/", "attempts=2", "error=")) != 1 {
		t.Errorf("%q", got)
	}
}

// An answer that the upstream does not finish is one line, and one that the client
// does not wait for is none.
func TestBrokenOffAnswerIsLogged(t *testing.T) {
	var hold atomic.Bool
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("half"))
		http.NewResponseController(w).Flush()
		if hold.Load() {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	if _, err := io.ReadAll(r.do("GET", "/", "").Body); err == nil {
		t.Error("the answer looks whole")
	}
	r.log.next(t)
	if got := r.with(""); len(got) != 1 || len(r.with(`msg="an upstream broke off its answer"`, "request_id=", "upstream="+up)) != 1 {
		t.Errorf("%q", got)
	}
	hold.Store(true)
	res := r.do("GET", "/", "")
	io.ReadFull(res.Body, make([]byte, 4))
	res.Body.Close()
	r.log.next(t)
	if got := r.with(""); len(got) != 1 {
		t.Errorf("after a client left: %q", got)
	}
}

// Attempts and the times of answers are counted for each upstream, and forgotten
// with it.
func TestUpstreamMetrics(t *testing.T) {
	good := backend(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	bad := closedPort(t)
	routes := []Route{{Path: "/", Upstreams: []string{good, bad}}, {Path: "/b/", Upstreams: []string{good}}}
	r := newRig(t, Settings{}, routes...)
	for range 4 {
		r.do("GET", "/", "")
	}
	r.do("GET", "/b/", "")
	if n := count(t, r.metrics.attempts.WithLabelValues("/", good, "2xx")); n != 4 {
		t.Errorf("%v answers, want 4", n)
	}
	if n, want := count(t, r.metrics.attempts.WithLabelValues("/", bad, "none")), count(t, r.metrics.upstream.WithLabelValues("/", "connect")); n != want || n < 1 {
		t.Errorf("%v attempts without an answer, want %v", n, want)
	}
	if got := r.gauge("perfgate_upstream_response_seconds"); got[good] != 5 || got[bad] != 0 {
		t.Errorf("times of answers: %v", got)
	}
	for range 3 {
		r.Reload(Settings{Table: compile(t, Route{Path: "/b/", Upstreams: []string{good}})})
		for _, name := range []string{"perfgate_upstream_up", "perfgate_upstream_requests_total", "perfgate_upstream_response_seconds"} {
			if got := r.gauge(name); len(got) != 1 {
				t.Errorf("%s after a reload: %v", name, got)
			}
		}
	}
	if n := count(t, r.metrics.attempts.WithLabelValues("/b/", good, "2xx")); n != 1 {
		t.Errorf("%v answers after a reload, want 1", n)
	}
}

// The report of a request says where it went and how often, and never holds a key.
func TestReportedTrail(t *testing.T) {
	good := backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "12345") })
	dead := closedPort(t)
	r := newRig(t, Settings{}, Route{Path: "/ok/", Upstreams: []string{good}}, Route{Path: "/dead/", Upstreams: []string{dead}},
		Route{Path: "/fast/", Upstreams: []string{good}, Require: []string{"missing"}})
	for _, c := range []struct {
		path   string
		status int
		want   local.Trail
		code   string
	}{
		{"/ok/a%20b?q=1", 200, local.Trail{Path: "/ok/a%20b", Upstream: good, Attempts: 1, Sent: 5}, ""},
		{"/dead/x", 502, local.Trail{Path: "/dead/x", Upstream: dead, Attempts: 2, Failure: "upstream_unreachable"}, ""},
		{"/nothing", 404, local.Trail{Path: "/nothing"}, "not_found"},
		{"/ok/pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", 400, local.Trail{}, "invalid_request"},
		{"/ok/%70k_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", 400, local.Trail{}, "invalid_request"},
	} {
		if res := r.do("GET", c.path, ""); res.StatusCode != c.status {
			t.Errorf("%s: status %d", c.path, res.StatusCode)
		}
		o := r.log.next(t)
		if c.status >= 400 {
			o.Sent = 0 // of the fault
		}
		if o.Trail != c.want || o.Code != c.code {
			t.Errorf("%s: %+v, %q", c.path, o.Trail, o.Code)
		}
	}
}
