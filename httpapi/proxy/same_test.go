package proxy

import (
	"strings"
	"testing"
)

// sameCases are pairs of routes, and how the second of them is received: "" is allowed,
// "fault" refused, and otherwise the methods of the warning.
var sameCases = []struct {
	a, b Route
	want string
}{
	{Route{Path: "/app"}, Route{Path: "/app"}, "fault"},
	{Route{Path: "/app"}, Route{Path: "/app/"}, "fault"},
	{Route{Path: "/app"}, Route{Path: "//app"}, "fault"},
	{Route{Path: "/"}, Route{Path: "/{r...}"}, "fault"},
	{Route{Path: "/v/{a}"}, Route{Path: "/v/{b}"}, "fault"},
	{Route{Path: "/v/{a}/"}, Route{Path: "/v/{b}/"}, "fault"},
	{Route{Path: "GET /x"}, Route{Path: "/x{$}", Methods: []string{"get"}}, "fault"},
	{Route{Path: "GET /x/"}, Route{Path: "/x", Methods: []string{"GET", "HEAD"}}, "fault"},
	{Route{Path: "/x", Methods: []string{"PUT", "POST"}}, Route{Path: "/x/", Methods: []string{"post", "PUT", "PUT"}}, "fault"},
	{Route{Path: "/x", Host: "A.example.com"}, Route{Path: "/x/", Host: "a.example.com."}, "fault"},
	// The one is more specific than the other.
	{Route{Path: "/x"}, Route{Path: "/x/{r...}"}, ""},
	{Route{Path: "/x"}, Route{Path: "/x{$}"}, ""},
	{Route{Path: "GET /x"}, Route{Path: "/x", Methods: []string{"GET"}}, ""},
	{Route{Path: "/x", Methods: []string{"GET"}}, Route{Path: "/x/"}, ""},
	{Route{Path: "/x/"}, Route{Path: "/x", Methods: []string{"GET"}}, ""},
	{Route{Path: "/v/{a}"}, Route{Path: "/v/a{$}"}, ""},
	{Route{Path: "/x"}, Route{Path: "/x", Host: "a.example.com"}, ""},
	{Route{Path: "/x", Methods: []string{"GET", "POST"}}, Route{Path: "GET /x/"}, ""},
	{Route{Path: "/x", Methods: []string{"HEAD"}}, Route{Path: "/x", Methods: []string{"GET"}}, ""},
	// The order of the file decides.
	{Route{Path: "/x", Methods: []string{"GET", "POST"}}, Route{Path: "/x/", Methods: []string{"POST", "PUT"}}, "POST"},
	{Route{Path: "/x", Methods: []string{"GET", "POST"}}, Route{Path: "/x", Methods: []string{"GET"}}, "GET"},
	{Route{Path: "/x", Methods: []string{"GET"}}, Route{Path: "/x", Methods: []string{"HEAD", "PUT"}}, "HEAD"},
}

// sameRequests are those by which the routes of sameCases differ, if they do.
func sameRequests(visit func(host, path, method string)) {
	for _, host := range []string{"h", "a.example.com"} {
		for _, path := range []string{"/", "/app", "/app/", "/app/x", "/x", "/x/", "/x/y", "/v", "/v/", "/v/a", "/v/b", "/v/a/", "/v/b/c"} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH"} {
				visit(host, path, method)
			}
		}
	}
}

// Two routes are a fault exactly where each of them, alone, takes the same requests; the
// warning is exact likewise.
func TestSameRoutes(t *testing.T) {
	for _, c := range sameCases {
		c.a.Upstreams, c.b.Upstreams = []string{"http://a"}, []string{"http://b"}
		a, b := compile(t, c.a), compile(t, c.b)
		same := true
		sameRequests(func(host, path, method string) {
			inA, _ := a.match(host, path, method)
			inB, _ := b.match(host, path, method)
			same = same && (inA == nil) == (inB == nil)
		})
		if same != (c.want == "fault") {
			t.Errorf("%+v and %+v: take the same requests: %v", c.a, c.b, same)
		}
		table, err := Compile([]Route{c.a, c.b}, func(string) (string, bool) { return "", false })
		switch {
		case c.want == "fault":
			if err == nil || !strings.Contains(err.Error(), "proxy.routes[1].path = ") || !strings.HasSuffix(err.Error(), "same host, path and methods as proxy.routes[0]") {
				t.Errorf("%+v and %+v: %v", c.a, c.b, err)
			}
		case err != nil:
			t.Errorf("%+v and %+v: %v", c.a, c.b, err)
		case c.want == "" && len(table.Warnings()) > 0:
			t.Errorf("%+v and %+v: %v", c.a, c.b, table.Warnings()[0])
		case c.want != "":
			checkTie(t, table, c.want)
		}
	}
}

// checkTie holds the one warning of a table of two routes to its methods.
func checkTie(t *testing.T, table *Table, methods string) {
	t.Helper()
	w := table.Warnings()
	if len(w) != 1 || w[0].Key != "proxy.routes[1].methods" || !strings.HasPrefix(w[0].Reason, methods+" of this host and path goes to proxy.routes[0]") {
		t.Fatalf("%v, want a warning of %s", w, methods)
	}
	if r, _ := table.match("h", "/x", methods); r == nil || r.upstreams[0].Host != "a" {
		t.Errorf("%s does not go to the first route", methods)
	}
}

// A catch-all is one in every spelling.
func TestCatchAll(t *testing.T) {
	for _, c := range []struct {
		route Route
		want  bool
	}{
		{Route{Path: "/"}, true}, {Route{Path: "/{r...}"}, true}, {Route{Path: "//"}, true},
		{Route{Path: "/{$}"}, false}, {Route{Path: "GET /"}, false}, {Route{Path: "/x"}, false}, {Route{}, false},
		{Route{Path: "/", Host: "h"}, false}, {Route{Path: "/", Methods: []string{"GET"}}, false},
	} {
		if got := c.route.CatchAll(); got != c.want {
			t.Errorf("%+v: %v", c.route, got)
		}
	}
}
