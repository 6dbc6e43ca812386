package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return "http://" + l.Addr().String()
}

func TestRetry(t *testing.T) {
	var served atomic.Int64
	good := backend(t, func(w http.ResponseWriter, r *http.Request) { served.Add(1); io.Copy(w, r.Body) })
	broken := rawBackend(t, func(c net.Conn, br *bufio.Reader) { // closes without an answer
		if req, err := http.ReadRequest(br); err == nil {
			io.Copy(io.Discard, req.Body)
		}
	})
	none := 0
	for _, c := range []struct {
		name, bad, method, body string
		retries                 *int
		want                    int // failures among two requests, one of which meets the bad upstream
	}{
		{"refused GET", closedPort(t), "GET", "", nil, 0},
		{"refused PUT", closedPort(t), "PUT", "body", nil, 0},
		{"refused POST", closedPort(t), "POST", "body", nil, 1},
		{"refused GET, no retries", closedPort(t), "GET", "", &none, 1},
		{"broken GET", broken, "GET", "", nil, 0},
		{"broken DELETE", broken, "DELETE", "", nil, 0},
		{"broken PUT whose body is gone", broken, "PUT", "body", nil, 1},
		{"broken POST", broken, "POST", "", nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{c.bad, good}, Retries: c.retries})
			failed := 0
			for range 2 {
				res := r.do(c.method, "/", c.body)
				if res.StatusCode == 502 {
					failed++
				} else if got := text(t, res); got != c.body {
					t.Errorf("status %d, body %q", res.StatusCode, got)
				}
			}
			if failed != c.want {
				t.Errorf("%d failed, want %d", failed, c.want)
			}
			want := int64(2)
			if strings.HasPrefix(c.name, "refused") {
				want -= int64(failed) // no upstream got these
			}
			if units, _, _ := r.gate.money(); units != want {
				t.Errorf("charged %d units for 2 requests, want %d", units, want)
			}
		})
	}
}

// TestNoRetryWithHalfABody sends a body of unknown length to an upstream that
// takes it and goes away: no other upstream may get the rest.
func TestNoRetryWithHalfABody(t *testing.T) {
	taken := make(chan bool, 2)
	broken := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		if req, err := http.ReadRequest(br); err == nil {
			io.Copy(io.Discard, req.Body)
			taken <- true
		}
	})
	good := backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{broken, good}})
	for range 2 {
		req, _ := http.NewRequest("PUT", r.srv.URL, io.MultiReader(strings.NewReader("body")))
		req.Header.Set("Authorization", "Bearer good")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, res); res.StatusCode != 502 && got != "body" {
			t.Errorf("status %d, body %q", res.StatusCode, got)
		}
	}
	within(t, "the body at the broken upstream", taken)
}

// count reads a counter.
func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestRetriesEnd(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{closedPort(t), closedPort(t), closedPort(t)}})
	if res := r.do("GET", "/", ""); res.StatusCode != 502 {
		t.Errorf("status %d", res.StatusCode)
	}
	if n := count(t, r.metrics.upstream.WithLabelValues("/", "connect")); n != 2 {
		t.Errorf("%v attempts, want one and a retry", n)
	}
}

var errDown = errors.New("down")

// upstreams without connections, for the choice alone.
func testLane(n int) *lane {
	l := &lane{route: &route{}}
	for i := range n {
		l.upstreams = append(l.upstreams, &upstream{url: &url.URL{Host: fmt.Sprint(i)}, health: health{log: slog.New(slog.DiscardHandler)}})
	}
	return l
}

func TestPick(t *testing.T) {
	now := time.Unix(1000, 0)
	l := testLane(3)
	seen := map[string]int{}
	for range 30 {
		seen[l.pick(now, nil).url.Host]++
	}
	if len(seen) != 3 || seen["0"] != 10 {
		t.Errorf("equals are not taken in turn: %v", seen)
	}
	l.upstreams[0].inFlight.Store(5)
	l.upstreams[1].inFlight.Store(2)
	l.upstreams[2].inFlight.Store(3)
	if u := l.pick(now, nil); u != l.upstreams[1] {
		t.Errorf("picked %s, want the least loaded", u.url.Host)
	}
	if u := l.pick(now, l.upstreams[1:2]); u != l.upstreams[2] {
		t.Errorf("picked %s, want one that was not tried", u.url.Host)
	}
	for range failuresToEject {
		l.upstreams[1].fail(now, errDown)
	}
	if u := l.pick(now, nil); u != l.upstreams[2] {
		t.Errorf("picked %s, want a healthy one", u.url.Host)
	}
	if u := l.pick(now.Add(ejectFirst), nil); u != l.upstreams[1] {
		t.Errorf("picked %s, want the one that is back", u.url.Host)
	}
	for _, u := range l.upstreams {
		for range failuresToEject {
			u.fail(now, errDown)
		}
	}
	if u := l.pick(now, nil); u != l.upstreams[1] {
		t.Errorf("picked %s, want the least loaded of the unhealthy", u.url.Host)
	}
}

func TestEjectionGrowsAndEnds(t *testing.T) {
	now := time.Unix(1000, 0)
	u := &testLane(1).upstreams[0].health
	for i, want := range []time.Duration{0, 0, 1, 2, 4, 8, 16, 32, 60, 60} {
		u.fail(now, errDown)
		got := time.Duration(0)
		if until := u.until.Load(); until != 0 {
			got = time.Unix(0, until).Sub(now)
		}
		if got != want*time.Second {
			t.Errorf("failure %d: away for %v, want %v", i+1, got, want*time.Second)
		}
	}
	for range 100 {
		u.fail(now, errDown)
	}
	if got := time.Unix(0, u.until.Load()).Sub(now); got != ejectMost {
		t.Errorf("after 110 failures: %v", got)
	}
	u.succeed()
	u.fail(now, errDown)
	if u.until.Load() != 0 {
		t.Errorf("one failure after a success ejects")
	}
}

func TestDownUpstreamIsPassedOver(t *testing.T) {
	good := backend(t, func(w http.ResponseWriter, r *http.Request) {})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{closedPort(t), good}})
	for range 40 {
		r.do("POST", "/", "")
	}
	if n := count(t, r.metrics.upstream.WithLabelValues("/", "connect")); n != failuresToEject {
		t.Errorf("%v requests met the upstream that is down, want %d", n, failuresToEject)
	}
}

func TestMaxBody(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, MaxBody: "1KiB"})
	for _, c := range []struct{ size, status int }{{0, 200}, {1023, 200}, {1024, 200}, {1025, 413}, {1 << 20, 413}} {
		body := strings.Repeat("x", c.size)
		if res := r.do("POST", "/", body); res.StatusCode != c.status {
			t.Errorf("%d bytes: status %d, want %d", c.size, res.StatusCode, c.status)
		}
		req, _ := http.NewRequest("POST", r.srv.URL, io.MultiReader(strings.NewReader(body))) // chunked
		req.Header.Set("Authorization", "Bearer good")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Errorf("%d bytes in chunks: %v", c.size, err)
			continue
		}
		if res.StatusCode != c.status {
			t.Errorf("%d bytes in chunks: status %d, want %d", c.size, res.StatusCode, c.status)
		}
		res.Body.Close()
	}
	if n := r.live.Load().lanes[r.live.Load().table.routes[0]].upstreams[0].failures.Load(); n != 0 {
		t.Errorf("the upstream is blamed %d times", n)
	}
}

func TestIsolatedBeforeUpstream(t *testing.T) {
	var seen atomic.Int64
	up := backend(t, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	r.gate.isolated.Store(true)
	if res := r.do("GET", "/", ""); res.StatusCode != 503 || seen.Load() != 0 {
		t.Errorf("status %d, upstream saw %d", res.StatusCode, seen.Load())
	}
	// The lease ends while a connection is being made.
	r.gate.isolated.Store(false)
	asked := 0
	l := r.live.Load().lanes[r.live.Load().table.routes[0]]
	l.upstreams[0].transport = newTransport("http", defaultTimeouts, nil, func() *fault.Error { asked++; return fault.New(fault.NodeIsolated) })
	if res := r.do("GET", "/", ""); res.StatusCode != 503 || seen.Load() != 0 || asked != 1 {
		t.Errorf("status %d, upstream saw %d, asked %d times", res.StatusCode, seen.Load(), asked)
	}
}

func TestReloadUnderLoad(t *testing.T) {
	named := func(name string) string {
		return backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) })
	}
	a, b := named("a"), named("b")
	tables := []*Table{
		compile(t, Route{Path: "/", Upstreams: []string{a}}),
		compile(t, Route{Path: "/", Upstreams: []string{b}}, Route{Path: "/y", Public: true, Upstreams: []string{a, b}}),
	}
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{a}})
	stop := make(chan bool)
	served := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				res := r.do("GET", "/x", "")
				got := text(t, res)
				if res.StatusCode != 200 || got != "a" && got != "b" {
					t.Errorf("status %d, %q", res.StatusCode, got)
					return
				}
				select {
				case <-stop:
					return
				case served <- struct{}{}:
				}
			}
		})
	}
	for i := range 50 {
		r.Reload(Settings{Table: tables[i%2]})
		for range 8 {
			within(t, "a request under load is served", served)
		}
	}
	close(stop)
	wg.Wait()
	if got := text(t, r.do("GET", "/x", "")); got != "b" {
		t.Errorf("the last table is not in use: %q", got)
	}
}

// A key that was revoked after its request was admitted does not get it upstream.
func TestStillIsAskedLast(t *testing.T) {
	var seen atomic.Int64
	up := backend(t, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	r.gate.still = func(*admit.Pass) *fault.Error { return fault.New(fault.KeyRevoked) }
	res := r.do("GET", "/", "")
	if res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") == "" || seen.Load() != 0 {
		t.Errorf("status %d %v, upstream saw %d", res.StatusCode, res.Header, seen.Load())
	}
}
