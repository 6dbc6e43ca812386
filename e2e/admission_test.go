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

	"github.com/perfgate/perfgate/e2e/harness"
)

// echo is an upstream that answers with the request as it arrived.
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

// admission is a request and its answer by the admission table.
type admission struct {
	name, method, path string
	h                  header
	body               any
	status             int
	code, challenge    string
}

const (
	realm   = `Bearer realm="perf"`
	invalid = realm + `, error="invalid_token"`
)

// admissions are the rows of the table with the keys of admissionKeys, first failure
// first.
func admissions(k map[string]string) []admission {
	from := func(ip string) header { return header{"X-Forwarded-For": ip} }
	const (
		unknown = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
		badSum  = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KA"
		json05  = `{"max_cost_per_call":0.005,"x":1}`
	)
	return []admission{
		{"1 unknown route", "GET", "/nowhere", as(k["live"]), nil, 404, "not_found", ""},
		{"1 public", "GET", "/public/x", nil, nil, 200, "", ""},
		{"2 no credential", "GET", "/v1/x", nil, nil, 401, "missing_key", realm},
		{"2 in the query", "GET", "/v1/x?api_key=" + k["live"], nil, nil, 400, "key_in_query", ""},
		{"3 not a key", "GET", "/v1/x", as("hello"), nil, 401, "malformed_key", invalid},
		{"3 bad checksum", "GET", "/v1/x", as(badSum), nil, 401, "malformed_key", invalid},
		{"5 unknown", "GET", "/v1/x", as(unknown), nil, 401, "invalid_key", invalid},
		{"5 revoked", "GET", "/v1/x", as(k["revoked"]), nil, 401, "key_revoked", invalid},
		{"5 disabled", "GET", "/v1/x", as(k["disabled"]), nil, 401, "key_disabled", invalid},
		{"5 expired", "GET", "/v1/x", as(k["expired"]), nil, 401, "key_expired", invalid},
		{"6 address refused", "GET", "/v1/x", as(k["fenced"], from("198.51.100.7")), nil, 403, "ip_not_allowed", ""},
		{"6 address allowed", "GET", "/v1/x", as(k["fenced"], from("203.0.113.9")), nil, 200, "", ""},
		{"6 mapped address allowed", "GET", "/v1/x", as(k["fenced"], from("::ffff:203.0.113.9")), nil, 200, "", ""},
		{"6 spoofed left of the client", "GET", "/v1/x", as(k["fenced"], from("203.0.113.9, 198.51.100.7")), nil, 403, "ip_not_allowed", ""},
		{"7 reader writes", "POST", "/v1/x", as(k["reader"]), "{}", 403, "insufficient_scope", realm + `, error="insufficient_scope", scope="write"`},
		{"7 writer reads", "GET", "/v1/x", as(k["writer"]), nil, 403, "insufficient_scope", realm + `, error="insufficient_scope", scope="read"`},
		{"7 custom scope missing", "GET", "/deploy/x", as(k["live"]), nil, 403, "insufficient_scope", realm + `, error="insufficient_scope", scope="deploy"`},
		{"7 custom scope", "GET", "/deploy/x", as(k["deployer"]), nil, 200, "", ""},
		{"7 other route", "GET", "/cost/x", as(k["routed"]), nil, 403, "route_not_allowed", ""},
		{"7 own route", "GET", "/v1/x", as(k["routed"]), nil, 200, "", ""},
		{"9 cost above the key's", "POST", "/v1/x", as(k["cheap"]), `{"max_cost_per_call":0.02}`, 400, "cost_above_limit", ""},
		{"9 cost above the route's", "POST", "/cost/x", as(k["live"]), `{"max_cost_per_call":0.06}`, 400, "cost_above_limit", ""},
		{"9 twice", "POST", "/v1/x", as(k["cheap"]), `{"max_cost_per_call":0.001,"max_cost_per_call":9}`, 400, "duplicate_member", ""},
		{"9 encoded", "POST", "/v1/x", as(k["cheap"], header{"Content-Encoding": "gzip"}), json05, 415, "", ""},
		{"9 too large", "POST", "/v1/x", as(k["cheap"]), `{"x":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "", ""},
		{"9 within", "POST", "/v1/x", as(k["cheap"]), json05, 200, "", ""},
		{"10 admitted", "GET", "/v1/x?a=1;b=2", as(k["live"]), nil, 200, "", ""},
		{"10 test key", "GET", "/v1/x", as(k["test"]), nil, 200, "", ""},
		{"scheme in another case", "GET", "/v1/x", header{"Authorization": "bEARER " + k["live"]}, nil, 200, "", ""},
		{"upstream down", "GET", "/down/x", as(k["live"]), nil, 502, "", ""},
		{"TRACE", "TRACE", "/v1/x", as(k["live"]), nil, 405, "method_not_allowed", ""},
	}
}

// admissionKeys makes a key of every kind that the table tells apart.
func admissionKeys(s *server) map[string]string {
	s.t.Helper()
	k, ids := map[string]string{}, map[string]string{}
	for name, fields := range map[string]map[string]any{
		"live":     nil,
		"test":     {"type": "test"},
		"reader":   {"scopes": []string{"read"}},
		"writer":   {"scopes": []string{"write"}},
		"deployer": {"scopes": []string{"read", "deploy"}},
		"fenced":   {"allowlist": []string{"203.0.113.0/24"}},
		"routed":   {"routes": []string{"/v1/"}},
		"cheap":    {"max_cost_per_call": 0.01},
		"revoked":  nil,
		"disabled": nil,
	} {
		k[name], ids[name] = s.create(fields)
	}
	k["expired"], ids["expired"] = s.create(map[string]any{"expires_at": time.Now().Add(3 * time.Second).UTC().Format(time.RFC3339Nano)})
	s.manage(200, "POST", "/v1/keys/"+ids["revoked"]+"/revoke", map[string]any{"reason": "leaked"})
	s.manage(200, "PATCH", "/v1/keys/"+ids["disabled"], map[string]any{"state": "disabled"})
	waitFor(s.t, "the key to expire", func() bool { return s.manage(200, "GET", "/v1/keys/"+ids["expired"], nil).Str("state") == "expired" })
	return k
}

// Every row of the admission table holds over both versions of HTTP, the first failure
// first.
func TestAdmissionTable(t *testing.T) {
	up, calls := echo(t)
	s := start(t, options{config: fmt.Sprintf(routes, up)})
	s.roomy()
	k := admissionKeys(s)
	two := &http.Transport{Protocols: new(http.Protocols)}
	two.Protocols.SetUnencryptedHTTP2(true)
	defer two.CloseIdleConnections()
	for _, client := range []*http.Client{{Timeout: startTimeout}, {Transport: two, Timeout: startTimeout}} {
		for _, c := range admissions(k) {
			before := calls.Load()
			r, err := harness.Call(t.Context(), client, c.method, s.proxy+c.path, c.h, c.body)
			if err != nil || (r.ProtoMajor == 2) != (client.Transport == two) {
				t.Errorf("%s: %v, %v", c.name, r, err)
				continue
			}
			c.name += " over " + r.Proto
			c.check(t, r)
			if c.status >= 400 && calls.Load() != before {
				t.Errorf("%s: the upstream saw a denied request", c.name)
			}
		}
	}

	twice, err := http.NewRequest("GET", s.proxy+"/v1/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	twice.Header["Authorization"] = []string{"Bearer " + k["live"], "Bearer " + k["test"]}
	resp, err := http.DefaultClient.Do(twice)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("two credentials: %s, want 400", resp.Status)
	}
}

// check compares an answer with the row.
func (c *admission) check(t *testing.T, r *reply) {
	t.Helper()
	if r.StatusCode != c.status || c.code != "" && r.Code() != c.code {
		t.Errorf("%s: %d %s, want %d %s\n%s", c.name, r.StatusCode, r.Code(), c.status, c.code, r.Raw)
		return
	}
	if got := r.Header.Get("WWW-Authenticate"); got != c.challenge {
		t.Errorf("%s: WWW-Authenticate %q, want %q", c.name, got, c.challenge)
	}
	id := r.Header.Get("X-Request-Id")
	if id == "" {
		t.Errorf("%s: no X-Request-Id", c.name)
	}
	if c.status >= 400 && (r.Str("error", "request_id") != id || r.Str("error", "type") == "" || r.Str("error", "message") == "") {
		t.Errorf("%s: incomplete error %s", c.name, r.Raw)
	}
	valid := c.status == 200 && c.h != nil || c.status == 403 || c.status == 502
	if valid != (r.Header.Get("X-RateLimit-Limit") != "") && c.challenge != realm && c.status != 400 && c.status != 413 && c.status != 415 {
		t.Errorf("%s: X-RateLimit-Limit %q", c.name, r.Header.Get("X-RateLimit-Limit"))
	}
}

// The upstream learns the caller's identity, never the credential.
func TestIdentityReachesUpstreamAndCredentialDoesNot(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.roomy()
	key, id := s.create(map[string]any{"scopes": []string{"write", "read"}})
	r := do(t, "GET", s.proxy+"/v1/x?q=1;z=2&e=%2f", as(key, header{
		"X-Perf-Account": "acct_forged", "X-Perf-Key-Id": "key_forged", "X-Perf-Admin": "yes",
		"X-Forwarded-For": "203.0.113.9", "X-Request-Id": "my-id.1", "Connection": "close, X-Secret", "X-Secret": "hop"}), nil)
	if r.StatusCode != 200 {
		t.Fatalf("%s\n%s", r.Status, r.Raw)
	}
	if strings.Contains(string(r.Raw), key) || strings.Contains(string(r.Raw), "forged") || strings.Contains(string(r.Raw), "X-Perf-Admin") {
		t.Errorf("what must not reach the upstream did:\n%s", r.Raw)
	}
	if got := r.Str("uri"); got != "/v1/x?q=1;z=2&e=%2f" {
		t.Errorf("the upstream saw %q", got)
	}
	h, _ := r.At("header").(map[string]any)
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
