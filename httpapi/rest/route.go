package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/store"
)

// Access states how a call may be reached and how it is treated.
type Access uint16

// The ways to reach a call, and how it is treated; they add up.
const (
	OnProxy   Access = 1 << iota // keys may make it on the proxy listener too
	Operators                    // operator tokens only
	Unmetered                    // not counted against the key's management bucket
	Open                         // needs no credential
	Global                       // concerns no single account: X-Perf-Account is not read
	Anytime                      // answered without a leader too: the answer may be this node's alone
	Quiet                        // a success is not audited: too frequent, or no action at all
	AnyScope                     // a key needs no scope for it
	History                      // may be about a deleted account while events of it are left
	Optional                     // not on the proxy listener without self service, although Open
	NoKeys                       // for people and operators: no key may make it
	Personal                     // for everybody who is signed in, about themselves
)

// Route is one call of the API. The route table is the one place that states how
// a call is reached.
type Route struct {
	ID     string // operationId in openapi.yaml, the client's method, the metric's label
	Method string
	Path   string      // "{id}" stands for one segment
	Action string      // in the audit log
	Scope  store.Scope // that a key must have
	Query  []string    // names of its parameters; the handler reads them with [Call.Query] if there are any
	IDs    string      // prefix of the ids that the path's variable segment may be; "" for names
	Access Access
	Roles  Roles // of users that may make it
	Tagged bool  // a change that If-Match makes conditional: its commands compare the ETag
	Serve  Handler

	segments []string
	reserved [][]string // by segment: the fixed words that no variable there may be
}

// Handler answers one call, or returns why it does not: the frame writes the
// error as the fault in it. An error after the answer has begun cuts it off.
type Handler func(*Call) error

// Table finds routes by path without redirecting, cleaning or decoding it. It is
// immutable.
type Table struct {
	all    []*Route
	byHead map[string][]*Route // by first segment, for /v1/ by the second
}

// NewTable returns the table of routes. Two routes with one id, or with one
// method and one path, panic: the second could never be reached.
func NewTable(routes ...*Route) *Table {
	t := &Table{all: routes, byHead: map[string][]*Route{}}
	taken := map[string]string{}
	take := func(name, id string) {
		if first, ok := taken[name]; ok {
			panic(fmt.Sprintf("httpapi/rest: %s is registered twice, by %s and by %s", name, first, id))
		}
		taken[name] = id
	}
	for _, rt := range routes {
		rt.segments = strings.Split(rt.Path[1:], "/")
		take(rt.ID, rt.ID)
		take(rt.Method+" "+rt.shape(len(rt.segments)), rt.ID)
		h := head(rt.Path)
		t.byHead[h] = append(t.byHead[h], rt)
	}
	for _, rt := range routes {
		rt.reserved = make([][]string, len(rt.segments))
		for i, seg := range rt.segments {
			if seg[0] == '{' {
				rt.reserved[i] = t.fixedAt(rt, i)
			}
		}
	}
	return t
}

// shape is the path up to segment n with its variables made alike.
func (rt *Route) shape(n int) string {
	var b strings.Builder
	for _, seg := range rt.segments[:n] {
		if seg[0] == '{' {
			seg = "{}"
		}
		b.WriteString("/" + seg)
	}
	return b.String()
}

// fixedAt lists the words that stand in other routes where rt has the variable
// segment i. A fixed word beats a variable: POST /v1/keys/verify is not a key.
func (t *Table) fixedAt(rt *Route, i int) (words []string) {
	for _, other := range t.byHead[head(rt.Path)] {
		if len(other.segments) > i && other.segments[i][0] != '{' && other.shape(i) == rt.shape(i) {
			words = append(words, other.segments[i])
		}
	}
	return words
}

// Routes returns every route in the order of registration.
func (t *Table) Routes() []*Route { return t.all }

// head is the segment that the table is indexed by.
func head(path string) string {
	path = strings.TrimPrefix(path, "/v1")
	path = strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return path
}

// Find returns the route of a method and a target, and the value of the path's first
// variable segment. Where the path is known but not with the method, allow lists the methods that
// are.
func (t *Table) Find(method string, u *url.URL) (rt *Route, param, allow string) {
	path := u.Path
	// An encoded form of a path is another path: no call needs one.
	if u.RawPath != "" || len(path) < 2 || path[0] != '/' {
		return nil, "", ""
	}
	var methods []string
	for _, c := range t.byHead[head(path)] {
		p, ok := c.match(path)
		if !ok {
			continue
		}
		if c.Method == method || c.Method == http.MethodGet && method == http.MethodHead {
			return c, p, ""
		}
		if c.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		methods = append(methods, c.Method)
	}
	slices.Sort(methods)
	return nil, "", strings.Join(methods, ", ")
}

// Begins reports whether a path may be one that Find knows. It runs for every proxied
// request.
func (t *Table) Begins(path string) bool {
	return len(path) >= 2 && (len(t.byHead[head(path)]) > 0 || strings.IndexByte(path, '%') >= 0)
}

// match reports whether path is rt's, segment by segment.
func (rt *Route) match(path string) (param string, ok bool) {
	rest := path[1:]
	for i, segment := range rt.segments {
		seg, tail, more := strings.Cut(rest, "/")
		if more == (i == len(rt.segments)-1) {
			return "", false
		}
		switch {
		case segment[0] == '{':
			if !isName(seg) || slices.Contains(rt.reserved[i], seg) {
				return "", false
			}
			if param == "" {
				param = seg
			}
		case segment != seg:
			return "", false
		}
		rest = tail
	}
	return param, true
}

// second returns the value of the second variable segment of a path of rt, "" if it has
// one or none.
func (rt *Route) second(path string) string {
	seen := 0
	for i, seg := range strings.Split(path[1:], "/") {
		if i < len(rt.segments) && rt.segments[i][0] == '{' {
			if seen++; seen == 2 {
				return seg
			}
		}
	}
	return ""
}

// isName holds for tokens that are not dots alone.
func isName(s string) bool {
	return admit.IsToken(s) && strings.Trim(s, ".") != ""
}
