package proxy

import (
	"net/http"
	"slices"

	"github.com/perfgate/perfgate/httpapi/pattern"
)

// maxOpenings bounds the routes, and the patterns of a key, that a preview looks at.
const maxOpenings = 100

// Opening tells for one route which calls a key may make.
type Opening struct {
	Route   string   // its pattern
	Host    string   // "" is any
	Require []string // custom scopes that it asks for
	Public  bool     // it asks for no key
	Open    []string // the methods that the key may use
	Refused []string // the methods that the route takes and the key may not use
	Missing []string // the scopes that would open some of Refused
	Barred  bool     // the key's own routes leave the route out
	Only    []string // the key's patterns that open a part of it; none: all of it
}

// previewed are the methods of a route that takes every method.
var previewed = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// Opens previews a key with scopes and routes: it tells of each route in force, the most
// specific first, which calls the key may make there. No routes restrict nothing.
func (p *Proxy) Opens(scopes, routes []string) []Opening {
	return p.live.Load().table.opens(scopes, routes)
}

func (t *Table) opens(scopes, routes []string) []Opening {
	own := pattern.NewSet(routes[:min(len(routes), maxOpenings)])
	covering := make([][]int, len(own)) // by pattern of the key, the routes that take all its paths
	for i := range own {
		for j, r := range t.routes {
			if pattern.Covers(&r.pattern, &own[i]) {
				covering[i] = append(covering[i], j)
			}
		}
	}
	list := make([]Opening, 0, min(len(t.routes), maxOpenings))
	for at, r := range t.routes[:cap(list)] {
		o := Opening{Route: r.rule.Route, Host: r.shownHost(), Require: r.rule.Require, Public: r.rule.Public}
		reached := false
		for _, m := range r.listed() {
			missing := r.rule.Missing(m, scopes)
			whole, parts := t.reach(at, m, own, covering)
			reached = reached || whole || len(parts) > 0
			switch {
			case o.Public:
				o.Open = append(o.Open, m)
				continue
			case len(missing) == 0 && (whole || len(parts) > 0):
				o.Open = append(o.Open, m)
			default:
				o.Refused = append(o.Refused, m)
				o.Missing = append(o.Missing, missing...)
			}
			if !whole {
				o.Only = append(o.Only, parts...)
			}
		}
		slices.Sort(o.Missing)
		o.Missing = slices.Compact(o.Missing)
		slices.Sort(o.Only)
		o.Only = slices.Compact(o.Only)
		o.Barred = !o.Public && !reached
		list = append(list, o)
	}
	return list
}

// reach tells what of route number at the patterns of a key leave to it, by one method: the
// whole route, or the parts that these patterns name. covering are the routes that take all
// paths of each pattern: a part that an earlier one of them takes never comes to this route.
func (t *Table) reach(at int, method string, own pattern.Set, covering [][]int) (whole bool, parts []string) {
	if len(own) == 0 {
		return true, nil
	}
	r := t.routes[at]
	for i := range own {
		p := &own[i]
		switch {
		case !p.MatchMethod(method):
		case pattern.Covers(p, &r.pattern):
			return true, nil
		case pattern.Overlaps(p, &r.pattern) && !slices.ContainsFunc(covering[i], func(j int) bool {
			other := t.routes[j]
			return j < at && (other.host == "" || other.host == r.host) && other.takes(method)
		}):
			parts = append(parts, p.String())
		}
	}
	return false, parts
}

// listed are the methods that a preview names: those that the route lists, or the usual ones.
func (r *route) listed() []string {
	if len(r.methods) == 0 {
		return previewed
	}
	if slices.Contains(r.methods, http.MethodGet) && !slices.Contains(r.methods, http.MethodHead) {
		return append(slices.Clone(r.methods), http.MethodHead)
	}
	return r.methods
}

// shownHost is the host as it is configured.
func (r *route) shownHost() string {
	if len(r.host) > 0 && r.host[0] == '.' {
		return "*" + r.host
	}
	return r.host
}
