package httpapi_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/proxy"
)

// What another proxy gets: the identity of the key and its limits, or the answer of the proxy;
// nginx gets the three statuses that it understands. The units are charged once.
func TestForwardAuth(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/files/", Units: new(int64(2))}, proxy.Route{Path: "/open", Public: true})
	made := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["read"],"limits":{"requests_per_minute":6,"requests_per_month":100}}`).Want(t, 201)
	traefik := func(more ...string) map[string]string {
		h := map[string]string{
			"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/files/a?x=1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "https",
			"X-Forwarded-For": "192.0.2.7", "Authorization": "Bearer " + made.Text("key"),
		}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
			if more[i+1] == "" {
				delete(h, more[i])
			}
		}
		return h
	}
	res, _ := g.ask(t, "", traefik())
	for name, want := range map[string]string{
		"X-Perf-Key-Id": made.Text("id"), "X-Perf-Account": "default", "X-Perf-Key-Type": "live", "X-Perf-Scopes": "read", "X-Ratelimit-Limit": "6", "X-Ratelimit-Remaining": "4",
	} {
		if got := res.Header.Get(name); res.StatusCode != 200 || got != want {
			t.Errorf("%d, %s: %q, want %q", res.StatusCode, name, got, want)
		}
	}
	for _, c := range []struct {
		name, query string
		header      map[string]string
		status      int
		code, real  string
	}{
		{"a wrong key", "", traefik("Authorization", "Bearer pk_live_x"), 401, "malformed_key", ""},
		{"a scope", "", traefik("X-Forwarded-Method", "PUT"), 403, "insufficient_scope", ""},
		{"no key", "", traefik("Authorization", ""), 401, "missing_key", ""},
		{"a public route", "", traefik("Authorization", "", "X-Forwarded-Uri", "/open"), 200, "", ""},
		{"no method", "", traefik("X-Forwarded-Method", ""), 400, "invalid_request", ""},
		{"no address", "", traefik("X-Forwarded-For", ""), 400, "invalid_request", ""},
		{"an address that is none", "", traefik("X-Forwarded-For", "192.0.2.7, unknown"), 400, "invalid_request", ""},
		{"nginx, with the headers of Traefik only", "?nginx=1", traefik(), 403, "invalid_request", "400"},
		{"nginx", "?nginx=1", traefik("X-Original-Method", "GET", "X-Original-Uri", "/files/b", "X-Forwarded-Uri", "/open", "Host", "x"), 200, "", "200"},
		{"nginx, a wrong key", "?nginx=1", traefik("X-Original-Method", "GET", "X-Original-Uri", "/files/b", "Authorization", "Bearer x"), 401, "malformed_key", "401"},
		{"nginx, no route", "?nginx=1", traefik("X-Original-Method", "GET", "X-Original-Uri", "/none"), 403, "not_found", "404"},
	} {
		res, code := g.ask(t, c.query, c.header)
		if res.StatusCode != c.status || code != c.code || res.Header.Get("X-Perf-Status") != c.real {
			t.Errorf("%s: %d %s, really %s; want %d %s %s", c.name, res.StatusCode, code, res.Header.Get("X-Perf-Status"), c.status, c.code, c.real)
		}
	}
	// Two of three requests of two units are charged by now, and nothing that was refused.
	if res, code := g.ask(t, "", traefik()); res.StatusCode != 200 {
		t.Errorf("the third: %d %s", res.StatusCode, code)
	}
	res, code := g.ask(t, "", traefik())
	if wait, _ := strconv.Atoi(res.Header.Get("Retry-After")); res.StatusCode != 429 || code != "requests_per_minute" || wait < 1 {
		t.Errorf("the fourth: %d %s %v", res.StatusCode, code, res.Header)
	}
	// The months keep the charge, too: a request that is decided counts as one that was answered.
	if got := res.Header.Get("RateLimit"); !strings.Contains(got, `"key-month";r=94;`) {
		t.Errorf("after three requests of two units: %s", got)
	}
	if res, _ := g.ask(t, "?nginx=1", traefik("X-Original-Method", "GET", "X-Original-Uri", "/files/b")); res.StatusCode != 403 || res.Header.Get("X-Perf-Status") != "429" {
		t.Errorf("the fourth, for nginx: %d %v", res.StatusCode, res.Header)
	}
}

// A request is judged by the client's address that the asking proxy appends, and never by one
// that the client has put before it.
func TestForwardAuthClient(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/"})
	g.Op("PATCH", "/v1/accounts/default", `{"tier":"enterprise"}`).Want(t, 200)
	key := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["read"],"allowlist":["198.51.100.0/24"]}`).Want(t, 201)
	for chain, want := range map[string]int{"198.51.100.7": 200, "198.51.100.7:4711": 200, "198.51.100.7, 192.0.2.1": 403, "192.0.2.1, 198.51.100.7": 200, "198.51.100.7, 127.0.0.1": 200} {
		res, code := g.ask(t, "", map[string]string{
			"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/a", "X-Forwarded-Host": "h", "X-Forwarded-For": chain, "Authorization": "Bearer " + key.Text("key"),
		})
		if res.StatusCode != want || want == 403 && code != "ip_not_allowed" {
			t.Errorf("%s: %d %s, want %d", chain, res.StatusCode, code, want)
		}
	}
}
