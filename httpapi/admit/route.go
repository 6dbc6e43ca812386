package admit

import (
	"net/http"
	"net/url"
	"strings"
)

// Target is what of a request its route patterns are compared with. An empty
// Method or Host is unknown and matches every pattern's.
type Target struct {
	Method string
	Host   string // without port
	Path   string // as sent: escaped, beginning with "/"; "" if unknown
}

// TargetOf is r's target. The path is the escaped one, so that an encoded slash
// does not divide segments and nothing is unescaped twice.
func TargetOf(r *http.Request) Target {
	t := Target{Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath()}
	if i := strings.LastIndexByte(t.Host, ':'); i > strings.LastIndexByte(t.Host, ']') {
		t.Host = t.Host[:i]
	}
	return t
}

// MatchRoute reports whether pattern covers t. It is the one meaning of a
// pattern, in a key's routes and in the configuration's alike:
//
//	[METHOD SPACE][HOST]/PATH
//
// METHOD and HOST as in [http.ServeMux] (GET covers HEAD; hosts are compared
// without case or port). PATH is compared segment by segment, each unescaped:
// {name} is any one segment, {name...} at the end any rest, {$} at the end
// demands that the path end with that slash. A path that ends with a slash
// covers everything beneath it, and, without one, itself and everything
// beneath: "/v1/chat" covers /v1/chat and /v1/chat/completions, not /v1/chats.
// (That last is where it is wider than ServeMux: a prefix.) A pattern with
// wildcards is no prefix unless it ends with a slash or {name...}.
func MatchRoute(pattern string, t *Target) bool {
	if method, rest, ok := strings.Cut(pattern, " "); ok {
		pattern = strings.TrimLeft(rest, " \t")
		if t.Method != "" && t.Method != method && !(method == http.MethodGet && t.Method == http.MethodHead) {
			return false
		}
	}
	slash := strings.IndexByte(pattern, '/')
	if slash < 0 {
		return false
	}
	if host := pattern[:slash]; host != "" && t.Host != "" && !strings.EqualFold(host, t.Host) {
		return false
	}
	if !strings.HasPrefix(t.Path, "/") {
		return false
	}
	return matchPath(pattern[slash+1:], t.Path[1:])
}

// matchPath compares what follows the first slash of a pattern and of a path.
func matchPath(pattern, path string) bool {
	prefix := strings.IndexByte(pattern, '{') < 0
	for {
		want, patternRest, patternMore := strings.Cut(pattern, "/")
		have, pathRest, pathMore := strings.Cut(path, "/")
		last := !patternMore
		switch {
		case last && want == "":
			return true // a trailing slash: all beneath
		case last && want == "{$}":
			return have == "" && !pathMore
		case last && strings.HasPrefix(want, "{") && strings.HasSuffix(want, "...}"):
			return true
		case strings.HasPrefix(want, "{") && strings.HasSuffix(want, "}"):
			if have == "" {
				return false
			}
		case !sameSegment(want, have):
			return false
		}
		if last {
			return !pathMore || prefix
		}
		if !pathMore {
			return false
		}
		pattern, path = patternRest, pathRest
	}
}

// sameSegment compares a pattern's segment with a path's escaped one.
func sameSegment(want, have string) bool {
	if want == have {
		return true
	}
	if strings.IndexByte(have, '%') < 0 && strings.IndexByte(want, '%') < 0 {
		return false
	}
	w, err := url.PathUnescape(want)
	if err != nil {
		return false
	}
	h, err := url.PathUnescape(have)
	return err == nil && w == h
}
