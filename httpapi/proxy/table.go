package proxy

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// Table is an immutable set of routes, the most specific first: by host (exact,
// then the longest wildcard, then any), then by path, then as configured.
type Table struct {
	routes []*route
}

// Len is the number of routes.
func (t *Table) Len() int { return len(t.routes) }

func (t *Table) sort() {
	slices.SortStableFunc(t.routes, func(a, b *route) int {
		return cmp.Or(compareHosts(a.host, b.host), specificity(&a.pattern, &b.pattern), compareMethods(a, b))
	})
}

func compareHosts(a, b string) int {
	kind := func(h string) int {
		switch {
		case h == "":
			return 2
		case h[0] == '.':
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(kind(a), kind(b)), cmp.Compare(len(b), len(a)))
}

// compareMethods puts a route that lists methods before one that takes all.
func compareMethods(a, b *route) int {
	switch {
	case len(a.methods) > 0 && len(b.methods) == 0:
		return -1
	case len(a.methods) == 0 && len(b.methods) > 0:
		return 1
	}
	return 0
}

// match finds the route for a request. Without one, allow lists the methods that
// other routes would take there: "" means that nothing is there at all.
// It takes time linear in the number of routes, which are few.
func (t *Table) match(host, path, method string) (_ *route, allow string) {
	host = bareHost(host)
	var methods []string
	for _, r := range t.routes {
		if !matchHost(r.host, host) || !r.pattern.match(path) {
			continue
		}
		if r.takes(method) {
			return r, ""
		}
		methods = append(methods, r.methods...)
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return nil, strings.Join(slices.Compact(methods), ", ")
}

func (r *route) takes(method string) bool {
	return len(r.methods) == 0 || slices.Contains(r.methods, method) ||
		method == http.MethodHead && slices.Contains(r.methods, http.MethodGet)
}

func matchHost(want, host string) bool {
	switch {
	case want == "":
		return true
	case want[0] == '.':
		return len(host) > len(want) && strings.HasSuffix(host, want)
	}
	return host == want
}

// bareHost drops port and trailing dot and lowers the case.
func bareHost(h string) string {
	if i := strings.LastIndexByte(h, ':'); i >= 0 && i > strings.LastIndexByte(h, ']') {
		h = h[:i]
	}
	return strings.ToLower(strings.TrimSuffix(h, "."))
}

// findRoute finds the route of r. pass tells that r is a browser's preflight
// which needs no key: it is routed by the method that it asks for.
func (t *Table) findRoute(r *http.Request) (found *route, pass bool, allow string) {
	path := r.URL.EscapedPath()
	if wanted := preflightMethod(r); wanted != "" {
		if found, _ := t.match(r.Host, path, wanted); found != nil && found.passPre {
			return found, true, ""
		}
	}
	found, allow = t.match(r.Host, path, r.Method)
	return found, false, allow
}

// preflightMethod is the method that a CORS preflight asks for, or "".
func preflightMethod(r *http.Request) string {
	if r.Method != http.MethodOptions || r.Header.Get("Origin") == "" {
		return ""
	}
	return r.Header.Get("Access-Control-Request-Method")
}
