package proxy

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/h1"
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
		if got := preflightMethod(h1.RequestOf(r)); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// matchSlowly is match without the index: every route in order.
func (t *Table) matchSlowly(host, path, method string) (_ *route, allow string) {
	host = bareHost(host)
	var methods []string
	for _, r := range t.routes {
		switch {
		case !matchHost(r.host, host) || !r.pattern.MatchPath(path):
		case r.takes(method):
			return r, ""
		default:
			methods = append(methods, r.methods...)
		}
	}
	return nil, allowed(methods)
}

// The index gives the answers of the search through all routes: for any table over a
// small alphabet, and requests of which most have a route.
func TestMatchIsLinearSearch(t *testing.T) {
	hosts := []string{"", "a.b", "*.b", "*.a.b", "x.a.b", "*.c"}
	asked := []string{"a.b", "A.B.:80", "x.b", "x.a.b", "y.x.a.b", ".b", "b", "", "..b", "x.c.", "[::1]:1", strings.Repeat("a.", 9) + "a.b"}
	segments := []string{"a", "b", "{x}", "{y}"}
	sent := []string{"a", "b", "c", "%61", "%6", "a%2Fb", "", "A"}
	found, wrong, none := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var routes []Route
		seen := map[string]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "routes") {
			r := Route{Host: rapid.SampledFrom(hosts).Draw(t, "host"), Upstreams: []string{"http://h"}}
			parts := rapid.SliceOfN(rapid.SampledFrom(segments), 0, 4).Draw(t, "segments")
			r.Path = "/" + strings.Join(slices.Compact(parts), "/") // {x}/{x} names one twice
			if strings.Count(r.Path, "{x}") > 1 || strings.Count(r.Path, "{y}") > 1 {
				continue
			}
			if end := rapid.SampledFrom([]string{"", "", "/", "/{$}", "/{rest...}"}).Draw(t, "end"); r.Path != "/" || end != "/" {
				r.Path = strings.TrimSuffix(r.Path, "/") + end
			}
			if m := rapid.SampledFrom([]string{"", "", "GET", "POST", "GET,PUT"}).Draw(t, "methods"); m != "" {
				r.Methods = strings.Split(m, ",")
			}
			if _, err := Compile([]Route{r}, nil); err != nil {
				continue
			}
			if key := r.Host + " " + r.Path + " " + strings.Join(r.Methods, ","); !seen[key] {
				seen[key] = true
				routes = append(routes, r)
			}
		}
		table, err := Compile(routes, nil)
		if err != nil {
			t.Skip(err) // two routes for the same requests
		}
		for range 40 {
			host, method := rapid.SampledFrom(asked).Draw(t, "asked"), rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PUT"}).Draw(t, "method")
			path := rapid.SampledFrom([]string{"/", "//", ""}).Draw(t, "begin") + strings.Join(rapid.SliceOfN(rapid.SampledFrom(sent), 0, 5).Draw(t, "path"), "/")
			got, allow := table.match(host, path, method)
			want, wantAllow := table.matchSlowly(host, path, method)
			switch {
			case got != want || allow != wantAllow:
				t.Fatalf("%s %q %q: %+v, allow %q; want %+v, allow %q", method, host, path, got, allow, want, wantAllow)
			case got != nil:
				found++
			case allow != "":
				wrong++
			default:
				none++
			}
		}
	})
	if found == 0 || wrong == 0 || none == 0 {
		t.Errorf("%d found, %d for other methods, %d without a route", found, wrong, none)
	}
}
