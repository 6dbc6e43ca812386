package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// sameRoutes finds the routes of one host and one set of paths, however they are
// written: between these, the order of the file would decide without a word.
type sameRoutes struct {
	byPath   map[string][]placed
	warnings []*FieldError
}

// placed is a route with its index in the configuration.
type placed struct {
	*route
	index int
}

// add notes that r is the route number i. It is a fault if an earlier one takes the same
// requests, and a warning if an earlier one takes some of its methods.
func (s *sameRoutes) add(c *compiler, i int, r *route) {
	path := r.host + " " + r.pattern.Paths()
	for _, earlier := range s.byPath[path] {
		if slices.Equal(earlier.methods, r.methods) {
			c.fail("path", r.pattern.String(), "same host, path and methods as proxy.routes[%d]", earlier.index)
			return
		}
		if (earlier.pattern.Method() == "") != (r.pattern.Method() == "") || len(earlier.methods) == 0 {
			continue // one of the two is more specific and comes first
		}
		taken := slices.DeleteFunc(slices.Clone(r.methods), func(m string) bool { return !earlier.takes(m) })
		if len(taken) > 0 {
			list := strings.Join(taken, ", ")
			s.warnings = append(s.warnings, &FieldError{
				Key: c.prefix + "methods", Value: strings.Join(r.methods, ", "),
				Reason: fmt.Sprintf("%s of this host and path goes to proxy.routes[%d], which stands first; list each method in one of them", list, earlier.index),
			})
		}
	}
	s.byPath[path] = append(s.byPath[path], placed{r, i})
}

// methodSet is methods, sorted and each once. GET implies HEAD.
func methodSet(methods []string) []string {
	if slices.Contains(methods, http.MethodGet) {
		methods = slices.DeleteFunc(methods, func(m string) bool { return m == http.MethodHead })
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}
