package proxy

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// orderCases are requests that end at each step, and the charges for them.
var orderCases = []struct {
	name, method, path, body string
	header                   []string
	status                   int
	code                     fault.Code
	limits                   bool
	units                    int64
}{
	{name: "proxied", status: 201, limits: true, units: 1},
	{name: "no key", header: []string{"Authorization", ""}, status: 401, code: "missing_key"},
	{name: "bad key", header: []string{"Authorization", "Bearer x"}, status: 401, code: "invalid_key"},
	{name: "public", path: "/open", header: []string{"Authorization", ""}, status: 201},
	{name: "public with a bad key", path: "/open/x", header: []string{"Authorization", "Bearer x"}, status: 201},
	{name: "scope", path: "/scoped", status: 403, code: "insufficient_scope", limits: true},
	{name: "body", method: "POST", path: "/small", body: "12345", status: 413, code: "body_too_large", limits: true},
	{name: "body fits", method: "POST", path: "/small", body: "1234", status: 201, limits: true, units: 1},
	{name: "cost", method: "POST", path: "/cost", body: `{"max_cost_per_call":1}`, header: []string{"Content-Type", "application/json"}, status: 400, code: "cost_above_limit", limits: true},
	{name: "down", path: "/down", status: 502, code: "upstream_unreachable", limits: true},
	{name: "preflight", method: "OPTIONS", path: "/cors", header: []string{"Authorization", "", "Origin", "https://a", "Access-Control-Request-Method", "PUT"}, status: 201},
	{name: "no preflight", method: "OPTIONS", path: "/cors", header: []string{"Authorization", "", "Origin", "https://a"}, status: 401, code: "missing_key"},
	{name: "preflight denied", method: "OPTIONS", path: "/x", header: []string{"Authorization", "", "Origin", "https://a", "Access-Control-Request-Method", "PUT"}, status: 401, code: "missing_key"},
}

func TestOrder(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "7")
		w.Header().Set("RateLimit", "up")
		w.Header().Set("X-Request-Id", "theirs")
		w.WriteHeader(201)
	})
	max := 0.5
	r := newRig(t, Settings{},
		Route{Path: "/", Upstreams: []string{up}},
		Route{Path: "/open", Public: true, Upstreams: []string{up}},
		Route{Path: "/scoped", Require: []string{"gold"}, Upstreams: []string{up}},
		Route{Path: "/get", Methods: []string{"GET"}, Upstreams: []string{up}, Host: "example.com"},
		Route{Path: "/small", MaxBody: "4B", Upstreams: []string{up}},
		Route{Path: "/cost", MaxCostPerCall: max, Upstreams: []string{up}},
		Route{Path: "/cors", Preflight: "pass", Upstreams: []string{up}},
		Route{Path: "/down", Upstreams: []string{"http://127.0.0.1:1"}},
	)
	for _, c := range orderCases {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			began := time.Now()
			before, _, _ := r.gate.money()
			if c.method == "" {
				c.method = "GET"
			}
			if c.path == "" {
				c.path = "/x"
			}
			res := r.do(c.method, c.path, c.body, append(c.header, "X-Request-Id", "mine.1")...)
			if res.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", res.StatusCode, c.status, text(t, res))
			}
			if got := res.Header.Values("X-Request-Id"); len(got) != 1 || got[0] != "mine.1" {
				t.Errorf("X-Request-Id %q", got)
			}
			if got := res.Header.Values("X-RateLimit-Limit"); limited(res.Header) != c.limits || c.limits && (len(got) != 1 || got[0] != "60") {
				t.Errorf("X-RateLimit-Limit %q, want limits %v", got, c.limits)
			}
			if reset, err := strconv.ParseInt(res.Header.Get("X-RateLimit-Reset"), 10, 64); c.limits && (err != nil || reset < began.Unix()) {
				t.Errorf("X-RateLimit-Reset %q lies before the request", res.Header.Get("X-RateLimit-Reset"))
			}
			if c.status == 201 && (res.Header.Get("X-Upstream-RateLimit-Limit") != "7" || res.Header.Get("X-Upstream-RateLimit") != "up" || res.Header.Get("X-Upstream-Request-Id") != "theirs") {
				t.Errorf("upstream's own headers are not renamed: %v", res.Header)
			}
			if c.code != "" {
				if got := code(t, res); got != c.code {
					t.Errorf("code %s, want %s", got, c.code)
				}
			}
			o := r.log.next(t)
			if o.Status != c.status || o.RequestID != "mine.1" || o.Units != c.units {
				t.Errorf("observed %+v", o)
			}
			if after, _, _ := r.gate.money(); after-before != c.units {
				t.Errorf("charged %d units, want %d", after-before, c.units)
			}
		})
	}
}

func TestRefusedBeforeUpstream(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("upstream saw %s %s", r.Method, r.RequestURI) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	list, err := os.ReadFile("../pattern/testdata/ambiguous-paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	for target := range strings.Lines(string(list) + "/a%2fb\n/a%2Fb\n/a%252fb\n") {
		target = strings.TrimSuffix(target, "\n")
		if target == "/%zz" {
			continue // the server refuses it itself
		}
		res := r.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
		if res.StatusCode != 400 {
			t.Errorf("%s: status %d, want 400", target, res.StatusCode)
			continue
		}
		if got := code(t, res); got != fault.InvalidRequest {
			t.Errorf("%s: code %s", target, got)
		}
	}
	for _, line := range []string{"CONNECT example.com:443", "TRACE /", "OPTIONS *", "GET *"} {
		res := r.raw(line + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
		if want := 405; res.StatusCode != want && line != "GET *" {
			t.Errorf("%s: status %d, want %d", line, res.StatusCode, want)
		}
		if res.StatusCode < 400 {
			t.Errorf("%s: status %d", line, res.StatusCode)
		}
	}
}

func TestAcceptedTargets(t *testing.T) {
	var got string
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { got = r.RequestURI })
	r := newRig(t, Settings{},
		Route{Path: "/", Upstreams: []string{up}},
		Route{Path: "/enc/", Upstreams: []string{up}, AllowEncodedSlash: true},
		Route{Path: "/strip", Upstreams: []string{up + "/base/"}, StripPrefix: "/strip"},
	)
	for target, want := range map[string]string{
		"/a?q=1;z=2":               "/a?q=1;z=2",
		"/a?":                      "/a?",
		"/a?x=%zz&y=%":             "/a?x=%zz&y=%",
		"/a?b=../../x&c=%2e%2e%2f": "/a?b=../../x&c=%2e%2e%2f",
		"//a//b":                   "//a//b",
		"/a%20b%41":                "/a%20b%41",
		"/a/...":                   "/a/...",
		"/a/..b":                   "/a/..b",
		"/.well-known/x":           "/.well-known/x",
		"/enc/a%2Fb":               "/enc/a%2Fb",
		"/100%25":                  "/100%25",
		"/a:b@c=d":                 "/a:b@c=d",
		"/strip/x?y":               "/base/x?y",
		"/strip":                   "/base/",
		"/str%69p/%41":             "/base/%41",
		"//strip//x":               "/base//x",
		"/%C3%A4":                  "/%C3%A4",
	} {
		got = ""
		res := r.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
		if res.StatusCode != 200 || got != want {
			t.Errorf("%s: status %d, upstream saw %q, want %q", target, res.StatusCode, got, want)
		}
	}
	res := r.raw("GET /enc/..%2Fa HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
	if res.StatusCode != 400 {
		t.Errorf("a dot segment behind an allowed encoded slash: status %d", res.StatusCode)
	}
}

func TestErrorsTellNoAddress(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{"http://127.0.0.1:1/secret-base"}})
	res := r.do("GET", "/x", "")
	if body := text(t, res); strings.Contains(body, "127.0.0.1") || strings.Contains(body, "secret-base") || strings.Contains(body, "dial") {
		t.Errorf("the answer tells of the upstream: %s", body)
	}
}

// A fault of the proxy shows no key, whatever its message quotes.
func TestOwnFaultsAreMasked(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{closedPort(t)}})
	key := apikey.New(apikey.LivePrefix)
	r.gate.charge.Store(fault.Newf(fault.RequestsPerMinute, "You have exceeded your rate limit of %s", key))
	res := r.do("GET", "/", "")
	if got := text(t, res); res.StatusCode != 429 || strings.Contains(got, key) || !strings.Contains(got, apikey.Mask(key)) {
		t.Errorf("status %d: %s", res.StatusCode, got)
	}
}
