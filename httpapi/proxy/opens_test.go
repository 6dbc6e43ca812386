package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/pattern"
)

// TestOpens compares the preview of many keys with the judgement of their requests: a method
// that is open without a part opens every path of the route, a part opens some, and a method
// that is refused opens none.
func TestOpens(t *testing.T) {
	up := []string{"http://h"}
	table := compile(t,
		Route{Path: "/", Upstreams: up}, Route{Path: "/a", Upstreams: up, Require: []string{"chat"}}, Route{Path: "/a/b/", Upstreams: up, Methods: []string{"GET", "PURGE"}},
		Route{Path: "/a/{x}/{$}", Upstreams: up, Host: "a.b"}, Route{Path: "POST /c/{x}", Upstreams: up}, Route{Path: "/b", Upstreams: up, Public: true},
	)
	paths := []string{
		"/", "/a", "/b", "/c", "/a/", "/b/", "/c/", "/a/a", "/a/b", "/a/c", "/a/a/", "/a/b/", "/a/c/", "/a/b/c", "/a/b/c/", "/c/a", "/c/b", "/c/a/", "/c/a/b", "/b/a", "/x", "/x/", "/x/y",
		"/a/b/c/d", "/nothing/at/all",
	}
	texts := []string{"/", "/a", "/a/b", "GET /a/", "/a/b/", "GET /a/{x}/{$}", "/a/{x}/{$}", "POST /c/{x}", "/c", "GET /c/a", "/b", "/x/{y...}", "/nothing/at/all"}
	scopes := [][]string{{"read"}, {"write"}, {"read", "write", "chat"}, {"chat", "verify"}, {"admin"}, {"zulu", "read", "chat", "alpha"}}
	open, refused, parts := 0, 0, 0
	for i := range texts {
		for j := range i + 1 {
			routes := slices.Compact([]string{texts[i], texts[j]})
			if i == 0 {
				routes = nil
			}
			for _, held := range scopes {
				for _, o := range table.opens(held, routes) {
					for _, m := range slices.Concat(o.Open, o.Refused) {
						yes, no := judged(table, &o, m, held, routes, paths)
						isOpen := slices.Contains(o.Open, m)
						what := fmt.Sprintf("%v with %v, %s of %s%s: %d of %d requests pass, preview %+v", held, routes, m, o.Host, o.Route, yes, yes+no, o)
						switch {
						case !isOpen && yes > 0, isOpen && yes == 0, isOpen && len(o.Only) == 0 && no > 0, o.Barred && yes > 0:
							t.Error(what)
						case !isOpen:
							refused++
						case len(o.Only) > 0:
							parts++
						default:
							open++
						}
					}
				}
			}
		}
	}
	if min(open, refused, parts) < 100 {
		t.Errorf("%d open, %d refused, %d in part: one answer would nearly always be right", open, refused, parts)
	}
}

// judged counts the requests to a route, over some paths, that a key may make and may not.
func judged(table *Table, o *Opening, method string, scopes, routes, paths []string) (yes, no int) {
	set := pattern.NewSet(routes)
	for _, path := range paths {
		r, _ := table.match(strings.Replace(o.Host, "*", "x", 1), path, method)
		switch {
		case r == nil || r.rule.Route != o.Route || r.shownHost() != o.Host:
		case r.rule.Public || len(r.rule.Missing(method, scopes)) == 0 && (len(routes) == 0 || set.Allow(method, path, r.rule.Route)):
			yes++
		default:
			no++
		}
	}
	return yes, no
}

// TestOpensTells says of a route for which reason a key does not open it.
func TestOpensTells(t *testing.T) {
	table := compile(t, Route{Path: "/", Upstreams: []string{"http://h"}}, Route{Path: "/chat", Host: "*.example.com", Upstreams: []string{"http://h"}, Methods: []string{"GET", "POST"}, Require: []string{"chat"}})
	got := fmt.Sprintf("%+v", table.opens([]string{"read"}, []string{"/chat", "/v1/{id}"}))
	want := "[{Route:/chat Host:*.example.com Require:[chat] Public:false Open:[] Refused:[GET POST HEAD] Missing:[chat write] Barred:false Only:[]}" +
		" {Route:/ Host: Require:[] Public:false Open:[GET HEAD OPTIONS] Refused:[POST PUT PATCH DELETE] Missing:[write] Barred:false Only:[/chat /v1/{id}]}]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := fmt.Sprintf("%+v", table.opens([]string{"admin"}, []string{"/chat"})[0]); !strings.Contains(got, "Open:[GET POST HEAD] Refused:[]") {
		t.Errorf("the scope admin: %s", got)
	}
	if o := table.opens([]string{"read", "write"}, []string{"POST /v2/{x}"})[0]; !o.Barred || len(o.Open) > 0 || len(o.Missing) == 0 {
		t.Errorf("a route that the key's own leave out: %+v", o)
	}
}
