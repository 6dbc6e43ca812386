package admit

import (
	"net/http"
	"net/url"
	"strings"
)

// Target is what of a request a key's routes are compared with.
type Target struct {
	Method string // "" if not known: every pattern's method matches
	Path   string // as sent: escaped, beginning with "/"; "" if not known
}

// TargetOf is r's target. The path is the escaped one, so that an encoded slash
// does not divide segments and nothing is unescaped twice.
func TargetOf(r *http.Request) Target {
	return Target{Method: r.Method, Path: r.URL.EscapedPath()}
}

// MatchRoute reports whether pattern, an entry of a key's routes, covers t. It
// means what the same pattern means as the path of a configured route:
//
//	/v1/models          whole segments as a prefix: /v1/models and /v1/models/x, not /v1/modelsx
//	GET /v1/models      that one path (HEAD too)
//	/v1/files/          that subtree, and /v1/files itself
//	/v1/files/{id}      one segment, not empty
//	/v1/files/{rest...} the rest
//	/v1/files/{$}       /v1/files/ alone;  /v1/files{$}  /v1/files alone
//
// Segments are compared after unescaping, and repeated slashes count as one. A
// pattern that is none covers nothing. It does not allocate unless the path is
// escaped.
func MatchRoute(pattern string, t *Target) bool {
	prefix := strings.IndexByte(pattern, '{') < 0
	if method, rest, ok := strings.Cut(pattern, " "); ok {
		if t.Method != "" && t.Method != method && !(t.Method == http.MethodHead && method == http.MethodGet) {
			return false
		}
		pattern, prefix = strings.TrimLeft(rest, " \t"), false
	}
	path := t.Path
	if !strings.HasPrefix(pattern, "/") || !strings.HasPrefix(path, "/") {
		return false
	}
	pattern, end := strings.CutSuffix(pattern, "{$}")
	subtree := !end && (prefix || strings.HasSuffix(pattern, "/"))
	slash := end && strings.HasSuffix(pattern, "/")

	root := true
	for {
		want, more, ok := nextSegment(pattern)
		if !ok {
			break
		}
		wild := want[0] == '{' && want[len(want)-1] == '}'
		if wild && more == "" && strings.HasSuffix(want, "...}") {
			return path != ""
		}
		have, rest, ok := nextSegment(path)
		if !ok || !wild && !sameSegment(want, have) {
			return false
		}
		pattern, path, root = more, rest, false
	}
	switch {
	case subtree:
		return true
	case slash:
		return path != "" && strings.Trim(path, "/") == ""
	}
	return path == "" || path == "/" && root
}

// nextSegment cuts the first segment off path; ok is false when only slashes are left.
func nextSegment(path string) (segment, rest string, ok bool) {
	path = strings.TrimLeft(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:], true
	}
	return path, "", path != ""
}

// sameSegment compares a pattern's segment with a path's escaped one.
func sameSegment(want, have string) bool {
	if strings.IndexByte(have, '%') < 0 {
		return want == have
	}
	have, err := url.PathUnescape(have)
	return err == nil && want == have
}
