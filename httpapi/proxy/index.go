package proxy

import (
	"strings"

	"github.com/perfgate/perfgate/httpapi/pattern"
)

// index finds the routes of a [Table] that take a host and a path, in the table's order,
// in time that does not grow with their number. It is immutable.
type index struct {
	exact   map[string]*pattern.Tree[*route] // by host
	wild    map[string]*pattern.Tree[*route] // by suffix, with its dot
	longest int                              // bytes of the longest suffix
	any     *pattern.Tree[*route]            // nil: no route takes any host
}

// newIndex returns the index of routes, which are sorted as in a table.
func newIndex(routes []*route) *index {
	x := &index{exact: map[string]*pattern.Tree[*route]{}, wild: map[string]*pattern.Tree[*route]{}}
	for _, r := range routes {
		x.tree(r.host).Add(&r.pattern, r)
	}
	return x
}

// tree is that of the routes of a host, made if there is none.
func (x *index) tree(host string) *pattern.Tree[*route] {
	if host == "" {
		if x.any == nil {
			x.any = new(pattern.Tree[*route])
		}
		return x.any
	}
	by := x.exact
	if host[0] == '.' {
		by = x.wild
		x.longest = max(x.longest, len(host))
	}
	t := by[host]
	if t == nil {
		t = new(pattern.Tree[*route])
		by[host] = t
	}
	return t
}

// find calls visit with each route that takes host, as the client sent it, and path, in
// the order of the table, until visit returns true.
func (x *index) find(host, path string, visit func(*route) bool) {
	if len(x.exact) > 0 || len(x.wild) > 0 {
		host = bareHost(host)
		if t := x.exact[host]; t != nil && t.Find(path, visit) {
			return
		}
	}
	if len(x.wild) > 0 {
		// A client's host may be long and full of dots: only what can be a suffix is looked up.
		for from := max(1, len(host)-x.longest); from < len(host); from++ {
			i := strings.IndexByte(host[from:], '.')
			if i < 0 {
				break
			}
			from += i
			if t := x.wild[host[from:]]; t != nil && t.Find(path, visit) {
				return
			}
		}
	}
	if x.any != nil {
		x.any.Find(path, visit)
	}
}
