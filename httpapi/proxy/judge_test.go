package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// The routes for a host or a method that is not known are those that requests with
// one host and one method find, all of them and no others.
func TestMatchAnyIsEveryMatch(t *testing.T) {
	hosts := []string{"", "a.x", "b.x", "c.b.x", "y"}
	methods := []string{"GET", "HEAD", "POST", "PUT"}
	rapid.Check(t, func(t *rapid.T) {
		var routes []Route
		for range rapid.IntRange(0, 8).Draw(t, "routes") {
			r := Route{
				Path:      rapid.SampledFrom([]string{"/", "/p", "/p/q", "/{x}", "GET /p"}).Draw(t, "path"),
				Host:      rapid.SampledFrom([]string{"", "a.x", "*.x", "*.b.x"}).Draw(t, "host"),
				Upstreams: []string{"http://h"},
			}
			if r.Path[0] == '/' {
				r.Methods = rapid.SliceOfNDistinct(rapid.SampledFrom(methods), 0, 2, rapid.ID).Draw(t, "methods")
			}
			routes = append(routes, r)
		}
		table, err := Compile(routes, nil)
		if err != nil {
			return // twice the same
		}
		path := rapid.SampledFrom([]string{"/", "/p", "/p/q", "/z"}).Draw(t, "path")
		host := rapid.SampledFrom(hosts).Draw(t, "host")
		method := rapid.SampledFrom(append(methods, "")).Draw(t, "method")
		got, allow := table.matchAny(host, path, method)
		some := func(value string, all []string) []string {
			if value != "" {
				return []string{value}
			}
			return all
		}
		var want []*route
		for _, h := range some(host, append(hosts, "z.b.x")) {
			for _, m := range some(method, append(methods, "OTHER")) {
				if r, _ := table.match(h, path, m); r != nil && !slices.Contains(want, r) {
					want = append(want, r)
				}
			}
		}
		if len(got) != len(want) || slices.ContainsFunc(want, func(r *route) bool { return !slices.Contains(got, r) }) {
			t.Fatalf("%q %q %q: %d routes, one by one %d", method, host, path, len(got), len(want))
		}
		if len(got) == 0 && host != "" && method != "" {
			if _, must := table.match(host, path, method); allow != must {
				t.Fatalf("Allow is %q, must be %q", allow, must)
			}
		}
	})
}

// A request with method and host is judged by the one route that serves it.
func TestJudgeFindsTheServingRoute(t *testing.T) {
	up := []string{"http://h"}
	table := compile(t,
		Route{Path: "/", Upstreams: up, Units: new(int64(2)), Cost: "0.5", MaxCostPerCall: "3"},
		Route{Path: "/post", Methods: []string{"POST"}, Upstreams: up},
		Route{Path: "/", Host: "strict", Upstreams: up, Require: []string{"root"}},
		Route{Path: "/slash", Upstreams: up, AllowEncodedSlash: true},
	)
	for _, c := range []struct {
		method, host, path string
		want               []string // routes
		code               fault.Code
	}{
		{"GET", "h", "/x", []string{"/"}, ""},
		{"GET", "strict:80", "/x", []string{"/"}, ""},
		{"GET", "", "/x", []string{"/", "/"}, ""},
		{"PUT", "h", "/post", []string{"/"}, ""},
		{"", "h", "/post", []string{"/post", "/"}, ""},
		{"GET", "h", "/slash/a%2fb", []string{"/slash"}, ""},
		{"GET", "h", "/x/a%2fb", nil, fault.InvalidRequest},
		{"GET", "", "/slash/a%2fb", nil, fault.InvalidRequest}, // of the host strict
		{"GET", "h", "/a/../b", nil, fault.InvalidRequest},
		{"TRACE", "h", "/x", nil, fault.MethodNotAllowed},
		{"GET", "h:80:80", "/x", nil, fault.InvalidRequest},
	} {
		u, err := url.ParseRequestURI(c.path)
		if err != nil {
			t.Fatal(err)
		}
		got, f := table.judge(h1.RequestOf(&http.Request{Method: c.method, Host: c.host, URL: u, RequestURI: c.path}), (*route).demand)
		var routes []string
		for _, d := range got {
			routes = append(routes, d.Rule.Route)
		}
		if !slices.Equal(routes, c.want) || (f == nil) != (c.code == "") || f != nil && f.Code != c.code {
			t.Errorf("%s %s%s: %q, %v, want %q, %q", c.method, c.host, c.path, routes, f, c.want, c.code)
		}
	}
	got, _ := table.judge(h1.RequestOf(&http.Request{Method: "GET", Host: "h", URL: &url.URL{Path: "/x"}}), (*route).demand)
	if len(got) != 1 || got[0].Units != 2 || got[0].Cost != 5e8 || got[0].MaxCost != 3e9 {
		t.Errorf("%+v", got)
	}
}
