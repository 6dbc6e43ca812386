package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Routes with a host come before those for any, the longest wildcard first, and
// a route that lists methods before one that takes all.
func TestTableOrder(t *testing.T) {
	up := []string{"http://h"}
	table := compile(t,
		Route{Path: "/", Upstreams: up},
		Route{Path: "/any", Upstreams: up},
		Route{Path: "/wide", Host: "*.example.com", Upstreams: up},
		Route{Path: "/", Host: "*.api.example.com", Upstreams: up},
		Route{Path: "/", Host: "Example.com.", Upstreams: up},
		Route{Path: "/post", Methods: []string{"POST"}, Upstreams: up},
		Route{Path: "/post", Upstreams: up},
	)
	for _, c := range []struct {
		host, path, method string
		wantHost, wantPath string
		listed             bool
	}{
		{"example.com", "/any", "GET", "example.com", "/", false},
		{"EXAMPLE.com:8080", "/any", "GET", "example.com", "/", false},
		{"example.com.", "/", "GET", "example.com", "/", false},
		{"a.example.com", "/wide", "GET", ".example.com", "/wide", false},
		{"a.example.com", "/any", "GET", "", "/any", false},
		{"a.api.example.com", "/wide", "GET", ".api.example.com", "/", false},
		{"api.example.com", "/wide", "GET", ".example.com", "/wide", false},
		{"evilexample.com", "/wide", "GET", "", "/", false},
		{"[::1]:80", "/any/x", "GET", "", "/any", false},
		{"h", "/post", "POST", "", "/post", true},
		{"h", "/post", "PUT", "", "/post", false},
	} {
		r, allow := table.match(c.host, c.path, c.method)
		if r == nil || r.host != c.wantHost || r.rule.Route != c.wantPath || (len(r.methods) > 0) != c.listed {
			t.Errorf("%s %s %s: %+v, allow %q", c.method, c.host, c.path, r, allow)
		}
	}
}

func TestPreflightMethod(t *testing.T) {
	for _, c := range []struct{ method, origin, asked, want string }{
		{"OPTIONS", "https://a", "PUT", "PUT"},
		{"OPTIONS", "https://a", "", ""},
		{"OPTIONS", "", "PUT", ""},
		{"GET", "https://a", "PUT", ""},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Header = http.Header{"Origin": {c.origin}, "Access-Control-Request-Method": {c.asked}}
		if got := preflightMethod(r); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
