package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echo is an upstream that shows what reached it.
func echo(t testing.TB) (url string, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-RateLimit-Limit", "upstream's own")
		json.NewEncoder(w).Encode(map[string]any{
			"method": r.Method, "uri": r.RequestURI, "host": r.Host, "header": r.Header, "body": string(body)})
	}))
	t.Cleanup(up.Close)
	return up.URL, calls
}

const routes = `
[proxy]
trusted_proxies = ["127.0.0.1/32"]

[[proxy.routes]]
path = "/v1/"
upstreams = ["%[1]s"]

[[proxy.routes]]
path = "/public/"
public = true
upstreams = ["%[1]s"]

[[proxy.routes]]
path = "/deploy/"
require = ["deploy"]
upstreams = ["%[1]s"]

[[proxy.routes]]
path = "/cost/"
max_cost_per_call = 0.05
upstreams = ["%[1]s"]

[[proxy.routes]]
path = "/down/"
upstreams = ["http://127.0.0.1:1"]
`

// Every row of the admission table (contract, section 3), first failure first.
func TestAdmissionTable(t *testing.T) {
	up, calls := echo(t)
	s := start(t, options{config: fmt.Sprintf(routes, up)})
	s.roomy()

	live, _ := s.create(nil)
	test, _ := s.create(map[string]any{"type": "test"})
	reader, _ := s.create(map[string]any{"scopes": []string{"read"}})
	writer, _ := s.create(map[string]any{"scopes": []string{"write"}})
	deployer, _ := s.create(map[string]any{"scopes": []string{"read", "deploy"}})
	fenced, _ := s.create(map[string]any{"allowlist": []string{"203.0.113.0/24"}})
	routed, _ := s.create(map[string]any{"routes": []string{"/v1/"}})
	cheap, _ := s.create(map[string]any{"max_cost_per_call": 0.01})
	revoked, id := s.create(nil)
	s.manage(200, "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "leaked"})
	disabled, id := s.create(nil)
	s.manage(200, "PATCH", "/v1/keys/"+id, map[string]any{"state": "disabled"})
	expired, id := s.create(map[string]any{"expires_at": time.Now().Add(1500 * time.Millisecond).UTC().Format(time.RFC3339Nano)})
	waitFor(t, "the key to expire", func() bool { return s.manage(200, "GET", "/v1/keys/"+id, nil).str("state") == "expired" })

	from := func(ip string) header { return header{"X-Forwarded-For": ip} }
	const (
		unknown = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
		badSum  = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KA"
		realm   = `Bearer realm="perf"`
		invalid = realm + `, error="invalid_token"`
		json05  = `{"max_cost_per_call":0.005,"x":1}`
	)
	type row struct {
		name, method, path string
		h                  header
		body               any
		status             int
		code, challenge    string
	}
	for _, c := range []row{
		{"1 unknown route", "GET", "/nowhere", as(live), nil, 404, "not_found", ""},
		{"1 public", "GET", "/public/x", nil, nil, 200, "", ""},
		{"2 no credential", "GET", "/v1/x", nil, nil, 401, "missing_key", realm},
		{"2 in the query", "GET", "/v1/x?api_key=" + live, nil, nil, 400, "key_in_query", ""},
		{"3 not a key", "GET", "/v1/x", as("hello"), nil, 401, "malformed_key", invalid},
		{"3 bad checksum", "GET", "/v1/x", as(badSum), nil, 401, "malformed_key", invalid},
		{"5 unknown", "GET", "/v1/x", as(unknown), nil, 401, "invalid_key", invalid},
		{"5 revoked", "GET", "/v1/x", as(revoked), nil, 401, "key_revoked", invalid},
		{"5 disabled", "GET", "/v1/x", as(disabled), nil, 401, "key_disabled", invalid},
		{"5 expired", "GET", "/v1/x", as(expired), nil, 401, "key_expired", invalid},
		{"6 address refused", "GET", "/v1/x", as(fenced, from("198.51.100.7")), nil, 403, "ip_not_allowed", ""},
		{"6 address allowed", "GET", "/v1/x", as(fenced, from("203.0.113.9")), nil, 200, "", ""},
		{"6 mapped address allowed", "GET", "/v1/x", as(fenced, from("::ffff:203.0.113.9")), nil, 200, "", ""},
		{"6 spoofed left of the client", "GET", "/v1/x", as(fenced, from("203.0.113.9, 198.51.100.7")), nil, 403, "ip_not_allowed", ""},
		{"7 reader writes", "POST", "/v1/x", as(reader), "{}", 403, "insufficient_scope", realm + `, error="insufficient_scope", scope="write"`},
		{"7 writer reads", "GET", "/v1/x", as(writer), nil, 403, "insufficient_scope", realm + `, error="insufficient_scope", scope="read"`},
		{"7 custom scope missing", "GET", "/deploy/x", as(live), nil, 403, "insufficient_scope", realm + `, error="insufficient_scope", scope="deploy"`},
		{"7 custom scope", "GET", "/deploy/x", as(deployer), nil, 200, "", ""},
		{"7 other route", "GET", "/cost/x", as(routed), nil, 403, "route_not_allowed", ""},
		{"7 own route", "GET", "/v1/x", as(routed), nil, 200, "", ""},
		{"9 cost above the key's", "POST", "/v1/x", as(cheap), `{"max_cost_per_call":0.02}`, 400, "cost_above_limit", ""},
		{"9 cost above the route's", "POST", "/cost/x", as(live), `{"max_cost_per_call":0.06}`, 400, "cost_above_limit", ""},
		{"9 twice", "POST", "/v1/x", as(cheap), `{"max_cost_per_call":0.001,"max_cost_per_call":9}`, 400, "duplicate_member", ""},
		{"9 encoded", "POST", "/v1/x", as(cheap, header{"Content-Encoding": "gzip"}), json05, 415, "", ""},
		{"9 too large", "POST", "/v1/x", as(cheap), `{"x":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "", ""},
		{"9 within", "POST", "/v1/x", as(cheap), json05, 200, "", ""},
		{"10 admitted", "GET", "/v1/x?a=1;b=2", as(live), nil, 200, "", ""},
		{"10 test key", "GET", "/v1/x", as(test), nil, 200, "", ""},
		{"scheme in another case", "GET", "/v1/x", header{"Authorization": "bEARER " + live}, nil, 200, "", ""},
		{"upstream down", "GET", "/down/x", as(live), nil, 502, "", ""},
		{"TRACE", "TRACE", "/v1/x", as(live), nil, 405, "method_not_allowed", ""},
	} {
		before := calls.Load()
		r := do(t, c.method, s.proxy+c.path, c.h, c.body)
		if r.StatusCode != c.status || c.code != "" && r.code() != c.code {
			t.Errorf("%s: %d %s, want %d %s\n%s", c.name, r.StatusCode, r.code(), c.status, c.code, r.raw)
			continue
		}
		if got := r.Header.Get("WWW-Authenticate"); got != c.challenge {
			t.Errorf("%s: WWW-Authenticate %q, want %q", c.name, got, c.challenge)
		}
		id := r.Header.Get("X-Request-Id")
		if id == "" {
			t.Errorf("%s: no X-Request-Id", c.name)
		}
		if c.status >= 400 {
			if r.str("error", "request_id") != id || r.str("error", "type") == "" || r.str("error", "message") == "" {
				t.Errorf("%s: incomplete error %s", c.name, r.raw)
			}
			if calls.Load() != before {
				t.Errorf("%s: the upstream saw a denied request", c.name)
			}
		}
		valid := c.status == 200 && c.h != nil || c.status == 403 || c.status == 502
		if valid != (r.Header.Get("X-RateLimit-Limit") != "") && c.challenge != realm && c.status != 400 && c.status != 413 && c.status != 415 {
			t.Errorf("%s: X-RateLimit-Limit %q", c.name, r.Header.Get("X-RateLimit-Limit"))
		}
	}

	two, err := http.NewRequest("GET", s.proxy+"/v1/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	two.Header["Authorization"] = []string{"Bearer " + live, "Bearer " + test}
	resp, err := http.DefaultClient.Do(two)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("two credentials: %s, want 400", resp.Status)
	}
}

// The upstream learns who calls, never with what.
func TestIdentityReachesUpstreamAndCredentialDoesNot(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.roomy()
	key, id := s.create(map[string]any{"scopes": []string{"write", "read"}})
	r := do(t, "GET", s.proxy+"/v1/x?q=1;z=2&e=%2f", as(key, header{
		"X-Perf-Account": "acct_forged", "X-Perf-Key-Id": "key_forged", "X-Perf-Admin": "yes",
		"X-Forwarded-For": "203.0.113.9", "X-Request-Id": "my-id.1", "Connection": "close, X-Secret", "X-Secret": "hop"}), nil)
	if r.StatusCode != 200 {
		t.Fatalf("%s\n%s", r.Status, r.raw)
	}
	if strings.Contains(string(r.raw), key) || strings.Contains(string(r.raw), "forged") || strings.Contains(string(r.raw), "X-Perf-Admin") {
		t.Errorf("what must not reach the upstream did:\n%s", r.raw)
	}
	if got := r.str("uri"); got != "/v1/x?q=1;z=2&e=%2f" {
		t.Errorf("the upstream saw %q", got)
	}
	h, _ := r.at("header").(map[string]any)
	for name, want := range map[string]string{
		"X-Perf-Key-Id": id, "X-Perf-Account": "default", "X-Perf-Key-Type": "live", "X-Perf-Scopes": "read write",
		"X-Request-Id": "my-id.1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"} {
		if got := fmt.Sprint(h[name]); got != "["+want+"]" {
			t.Errorf("%s = %s, want [%s]", name, got, want)
		}
	}
	if h["X-Secret"] != nil {
		t.Error("a header named by Connection reached the upstream")
	}
	if got := r.Header.Get("X-Upstream-X-RateLimit-Limit") + r.Header.Get("X-Upstream-RateLimit-Limit"); got != "upstream's own" {
		t.Errorf("the upstream's own rate header is gone: %v", r.Header)
	}
	if r.Header.Get("X-Request-Id") != "my-id.1" {
		t.Errorf("X-Request-Id %q", r.Header.Get("X-Request-Id"))
	}
}

// waitFor polls until ok; what says what was waited for.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(startTimeout); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
