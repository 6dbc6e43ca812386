package proxy

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/pattern"
)

// Table is an immutable set of routes, the most specific first: by host (exact,
// then the longest wildcard, then any), then by path, then as configured.
type Table struct {
	routes   []*route
	index    *index // of routes
	warnings []*FieldError
}

// Warnings are the places of the configuration that are a mistake more often than not.
func (t *Table) Warnings() []*FieldError { return t.warnings }

// Len is the number of routes.
func (t *Table) Len() int { return len(t.routes) }

// sort puts the routes in order, and makes the index of them.
func (t *Table) sort() {
	slices.SortStableFunc(t.routes, func(a, b *route) int {
		return cmp.Or(compareHosts(a.host, b.host), pattern.Compare(&a.pattern, &b.pattern), compareMethods(a, b))
	})
	t.index = newIndex(t.routes)
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
func (t *Table) match(host, path, method string) (found *route, allow string) {
	var methods []string
	t.index.find(host, path, func(r *route) bool {
		if r.takes(method) {
			found = r
			return true
		}
		methods = append(methods, r.methods...)
		return false
	})
	if found != nil {
		return found, ""
	}
	return nil, allowed(methods)
}

// allowed is the header Allow of a path where routes take methods.
func allowed(methods []string) string {
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
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

// find is step 1 of admission: the route of r, or the fault of its target. pass
// reports that r is a browser's preflight which needs no key: it is routed by the
// method that it asks for.
func (t *Table) find(r *h1.Request) (found *route, pass bool, _ *fault.Error) {
	encodedSlash, f := checkTarget(r)
	if f != nil {
		return nil, false, f
	}
	path := r.Path
	if wanted := preflightMethod(r); wanted != "" {
		if found, _ = t.match(r.Host, path, wanted); found != nil && found.passPre {
			return found, true, found.slash(encodedSlash)
		}
	}
	found, allow := t.match(r.Host, path, r.Method)
	if found == nil {
		return nil, false, unrouted(allow)
	}
	return found, false, found.slash(encodedSlash)
}

// unrouted is the fault of a target that no route takes; allow is that of match.
func unrouted(allow string) *fault.Error {
	if allow != "" {
		return &fault.Error{Code: fault.MethodNotAllowed, Allow: allow}
	}
	return fault.New(fault.NotFound)
}

// slash refuses a path with an encoded slash where the route does not allow it.
func (r *route) slash(encoded bool) *fault.Error {
	if encoded && !r.encodedSlash {
		return fault.Newf(fault.InvalidRequest, "The path has an encoded slash.")
	}
	return nil
}

// Judge implements [admit.Routes].
func (p *Proxy) Judge(r *h1.Request) ([]admit.Demand, *fault.Error) {
	live, now := p.live.Load(), time.Now()
	return live.table.judge(r, func(r *route) admit.Demand { return live.lanes[r].demand(nil, now) })
}

// Requires reports whether a route in force requires a scope.
func (p *Proxy) Requires(scope string) bool { return p.live.Load().table.requires(scope) }

// Meets reports whether some request that a route in force takes is one that a key with
// this pattern among its routes may make.
func (p *Proxy) Meets(text string) bool { return p.live.Load().table.meets(text) }

// judge finds the routes that may take r, and asks for the demand of each. Without a path
// it finds none, and looks at the method and the host alone.
func (t *Table) judge(r *h1.Request, demand func(*route) admit.Demand) ([]admit.Demand, *fault.Error) {
	if r.Method != "" && r.Host != "" && r.Path != "" {
		found, _, f := t.find(r)
		if f != nil {
			return nil, f
		}
		return []admit.Demand{demand(found)}, nil
	}
	encodedSlash, f := checkTarget(r)
	if f != nil || r.Path == "" {
		return nil, f
	}
	found, allow := t.matchAny(r.Host, r.Path, r.Method)
	if len(found) == 0 {
		return nil, unrouted(allow)
	}
	out := make([]admit.Demand, 0, len(found))
	for _, rt := range found {
		if f := rt.slash(encodedSlash); f != nil {
			return nil, f
		}
		out = append(out, demand(rt))
	}
	return out, nil
}

// Covering names the routes, of any host, that would serve a request with the method
// and the path.
func (t *Table) Covering(method, path string) (routes []string) {
	found, _ := t.matchAny("", path, method)
	for _, r := range found {
		routes = append(routes, r.rule.Route)
	}
	return routes
}

func (t *Table) requires(scope string) bool {
	return slices.ContainsFunc(t.routes, func(r *route) bool { return slices.Contains(r.rule.Require, scope) })
}

func (t *Table) meets(text string) bool {
	p := pattern.Compile(text)
	return slices.ContainsFunc(t.routes, func(r *route) bool {
		return text == r.rule.Route || pattern.Overlaps(&p, &r.pattern) &&
			(p.Method() == "" || r.takes(p.Method()) || p.Method() == http.MethodGet && r.takes(http.MethodHead))
	})
}

// matchAny lists the routes that match finds for any host or any method: "" as the
// one or the other. allow is that of match, over all hosts.
func (t *Table) matchAny(host, path, method string) (found []*route, allow string) {
	anyHost, anyMethod := host == "", method == ""
	host = bareHost(host)
	var methods []string
	for _, r := range t.routes {
		switch {
		case !anyHost && !matchHost(r.host, host), !r.pattern.MatchPath(path):
		case !anyMethod && !r.takes(method):
			methods = append(methods, r.methods...)
		case !r.behind(found, anyHost, method):
			found = append(found, r)
		}
	}
	return found, allowed(methods)
}

// behind reports whether others, which come before r and match the same path, take
// every request that r would: by r's own hosts if any host may be meant, and by
// method if that is known.
func (r *route) behind(others []*route, anyHost bool, method string) bool {
	takes := func(method string) bool {
		return slices.ContainsFunc(others, func(o *route) bool {
			return (!anyHost || o.host == r.host) && (len(o.methods) == 0 || method != "" && o.takes(method))
		})
	}
	if method != "" || len(r.methods) == 0 {
		return takes(method)
	}
	return !slices.ContainsFunc(r.methods, func(m string) bool { return !takes(m) })
}

// demand is r as admission sees it, without the costs that its responses report.
func (r *route) demand() admit.Demand {
	return admit.Demand{Rule: r.rule, Units: r.units, Cost: r.cost, MaxCost: r.maxCost}
}

// preflightMethod is the method that a CORS preflight asks for, or "". A preflight
// has neither a body nor an Upgrade: with them, anybody could tunnel without a key.
func preflightMethod(r *h1.Request) string {
	if r.Method != http.MethodOptions || r.Fields.Get("Origin") == "" || r.Length != 0 || r.Fields.Has("Upgrade") {
		return ""
	}
	return r.Fields.Get("Access-Control-Request-Method")
}
