package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// looping is a proxy with the server that serves it as its upstream.
func looping(t *testing.T, http2 bool) (*rig, *atomic.Int64) {
	t.Helper()
	var seen atomic.Int64
	var inner atomic.Pointer[Proxy]
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		inner.Load().ServeHTTP(w, r)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	up := srv.URL
	if http2 {
		up = strings.Replace(up, "http:", "h2c:", 1)
	}
	r := newRig(t, Settings{}, Route{Path: "/", Public: true, Upstreams: []string{up}},
		Route{Path: "/stripped", Public: true, Upstreams: []string{up}, Headers: map[string]string{"Via": ""}})
	inner.Store(r.Proxy)
	return r, &seen
}

// A request that comes back to the node that it went through is answered 508, on
// the first return.
func TestLoop(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		r, seen := looping(t, http2)
		for _, path := range []string{"/", "/a/b?c=d", "/stripped"} {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				seen.Store(0)
				res := r.do(method, path, "", "Via", "1.1 elsewhere")
				if got := code(t, res); res.StatusCode != 508 || got != fault.LoopDetected || res.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s: status %d %s", method, path, res.StatusCode, got)
				}
				if n := seen.Load(); n != 1 {
					t.Errorf("%s %s: the request came back %d times", method, path, n)
				}
			}
		}
		if http2 {
			continue // there are no upgrades
		}
		seen.Store(0)
		res := r.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if res.StatusCode != 508 || seen.Load() != 1 {
			t.Errorf("an upgrade: status %d after %d rounds", res.StatusCode, seen.Load())
		}
	}
}

// A second node in the loop is not mistaken for this one, and the loop ends when
// the request has come round.
func TestLoopOfTwo(t *testing.T) {
	second := newRig(t, Settings{}, Route{Path: "/", Public: true, Upstreams: []string{"http://127.0.0.1:1"}})
	first := newRig(t, Settings{}, Route{Path: "/", Public: true, Upstreams: []string{second.srv.URL}})
	second.Reload(Settings{Table: compile(t, Route{Path: "/", Public: true, Upstreams: []string{first.srv.URL}})})
	res := first.do("GET", "/", "")
	if got := code(t, res); res.StatusCode != 508 || got != fault.LoopDetected {
		t.Errorf("status %d %s", res.StatusCode, got)
	}
	for _, r := range []*rig{first, second} {
		r.log.next(t)
	}
}

// The upstream sees the nodes that the request went through, in order.
func TestVia(t *testing.T) {
	got := make(chan []string, 1)
	up := backend(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header["Via"] })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	for _, before := range []string{"", "1.0 fred, 1.1 p.example.net (a, comment)"} {
		r.do("GET", "/", "", "Via", before)
		want := []string{"1.1 " + r.via.name}
		if before != "" {
			want = []string{before, want[0]}
		}
		if v := within(t, "the upstream", got); !slices.Equal(v, want) {
			t.Errorf("Via %q, want %q", v, want)
		}
	}
	u, _ := url.Parse(r.srv.URL)
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	req := &http.Request{Method: "GET", URL: u, Header: http.Header{"Authorization": {"Bearer good"}}}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if v := within(t, "the upstream", got); !slices.Equal(v, []string{"2.0 " + r.via.name}) {
		t.Errorf("Via of an HTTP/2 request is %q", v)
	}
}

func TestLoops(t *testing.T) {
	v, same, other := newVia("n1"), newVia("n1"), newVia("n2")
	nameless, nameless2 := newVia(""), newVia("")
	if v.name != same.name || v.name == other.name || strings.Contains(v.name, "n1") || nameless.name == nameless2.name {
		t.Errorf("names %s, %s, %s", v.name, same.name, other.name)
	}
	for _, tt := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{v.name}, false}, // no protocol
		{[]string{"1.1 " + other.name}, false},
		{[]string{"1.1 " + v.name}, true},
		{[]string{"HTTP/1.1  " + v.name + " (perfgate)"}, true},
		{[]string{"1.1 a, 1.0 b", "2.0 c,1.1 " + v.name + ", 1.1 d"}, true},
		{[]string{"1.1 a (" + v.name + ")"}, false},
		{[]string{"1.1 " + v.name + "x"}, false},
	} {
		if got := v.loops(tt.lines); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.lines, got, tt.want)
		}
	}
}
