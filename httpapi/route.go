package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/store"
)

// access says who may make a call, where and at what price.
type access uint8

const (
	onProxy   access = 1 << iota // keys may make it on the proxy listener too: [P]
	operators                    // operator tokens only: [O]
	unmetered                    // not counted against the key's management bucket
	open                         // asks for no credential
	global                       // concerns no single account: X-Perf-Account is not read
	anytime                      // answered without a leader, too: what it shows may be this node's alone
	quiet                        // a success is not audited: too frequent, or no action at all
)

// route is one call of the API: the one place that says how it is reached.
type route struct {
	id     string // operationId in openapi.yaml, the client's method, the metric's label
	method string
	path   string      // "{id}" stands for one segment
	action string      // in the audit log
	scope  store.Scope // that a key must have
	access access
	serve  func(*call) error

	segments []string
}

// table finds routes by path without redirecting, cleaning or decoding it.
type table struct {
	all    []*route
	byHead map[string][]*route // by first segment, for /v1/ by the second
}

func newTable(all []*route) *table {
	t := &table{all: all, byHead: map[string][]*route{}}
	for _, rt := range all {
		rt.segments = strings.Split(rt.path[1:], "/")
		h := head(rt.path)
		t.byHead[h] = append(t.byHead[h], rt)
	}
	return t
}

// head is the segment that the table is indexed by.
func head(path string) string {
	path = strings.TrimPrefix(path, "/v1")
	path = strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return path
}

// find returns r's route and the value of the path's variable segment. Where
// the path is known but not with r's method, allow lists the methods that are.
// It is on the way of every proxied request and does not allocate for those.
func (t *table) find(r *http.Request) (rt *route, param, allow string) {
	path := r.URL.Path
	// An encoded form of a path is another path: nothing here needs one.
	if r.URL.RawPath != "" || len(path) < 2 || path[0] != '/' {
		return nil, "", ""
	}
	var methods []string
	for _, c := range t.byHead[head(path)] {
		p, ok := c.match(path)
		if !ok {
			continue
		}
		if c.method == r.Method || c.method == http.MethodGet && r.Method == http.MethodHead {
			return c, p, ""
		}
		if c.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		methods = append(methods, c.method)
	}
	slices.Sort(methods)
	return nil, "", strings.Join(methods, ", ")
}

// match reports whether path is rt's, segment by segment.
func (rt *route) match(path string) (param string, ok bool) {
	rest := path[1:]
	for i, want := range rt.segments {
		seg, tail, more := strings.Cut(rest, "/")
		if more == (i == len(rt.segments)-1) {
			return "", false
		}
		switch {
		case want[0] == '{':
			// A fixed word beats a variable: POST /v1/keys/verify is not a key.
			if !isName(seg) || reserved(rt, i, seg) {
				return "", false
			}
			param = seg
		case want != seg:
			return "", false
		}
		rest = tail
	}
	return param, true
}

// reserved keeps the words that stand where a key's id could.
func reserved(rt *route, i int, seg string) bool {
	return i == 2 && rt.segments[1] == "keys" && (seg == "import" || seg == "revoke" || seg == "verify")
}

// isName holds for 1–128 of [A-Za-z0-9._-] that are not dots alone.
func isName(s string) bool {
	return isToken(s) && strings.Trim(s, ".") != ""
}

// isToken holds for 1–128 of [A-Za-z0-9._-].
func isToken(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
