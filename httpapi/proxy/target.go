package proxy

import (
	"net/http"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// maxDecodings bounds how often a path is decoded in search of what it hides.
const maxDecodings = 3

// checkTarget refuses request targets that an upstream could read as another
// path than the one that was routed. encodedSlash tells of a slash that only
// decoding shows; whether that is allowed is the route's affair.
func checkTarget(r *http.Request) (encodedSlash bool, _ *fault.Error) {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace || r.RequestURI == "*" || r.URL.Path == "*" {
		return false, &fault.Error{Code: fault.MethodNotAllowed, Allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	}
	if strings.IndexByte(r.RequestURI, '#') >= 0 {
		return false, fault.Newf(fault.InvalidRequest, "The request target has a fragment.")
	}
	path := r.URL.Path
	if path != "" && path[0] != '/' {
		return false, fault.Newf(fault.InvalidRequest, "The request target is not a path.")
	}
	if r.URL.RawPath != "" {
		encodedSlash = slashes(r.URL.RawPath) != slashes(path)
	}
	for range maxDecodings {
		if why := hidden(path); why != "" {
			return false, fault.Newf(fault.InvalidRequest, "The path has %s.", why)
		}
		if strings.IndexByte(path, '%') < 0 {
			return encodedSlash, nil
		}
		deeper := unescape(path)
		if deeper == path {
			return encodedSlash, nil
		}
		encodedSlash = encodedSlash || slashes(deeper) != slashes(path)
		path = deeper
	}
	return false, fault.Newf(fault.InvalidRequest, "The path is percent-encoded too often.")
}

func slashes(s string) int { return strings.Count(s, "/") }

// hidden names what is wrong with a decoded path, or "".
func hidden(path string) string {
	start := 0 // of the current segment
	for i := 0; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			if dotSegment(path[start:i]) {
				return "a dot segment"
			}
			start = i + 1
			continue
		}
		switch c := path[i]; {
		case c < ' ' || c == 0x7f:
			return "a control character"
		case c == '\\':
			return "a backslash"
		case c == 0xc0 || c == 0xc1 || c == 0xe0 && i+1 < len(path) && path[i+1] >= 0x80 && path[i+1] < 0xa0:
			// Overlong UTF-8: lenient decoders read %c0%ae as ".".
			return "an overlong UTF-8 sequence"
		}
	}
	return ""
}

// dotSegment knows "." and "..", also with the path parameters ("..;x") that
// some servers drop before they resolve dots.
func dotSegment(s string) bool {
	if len(s) == 0 || s[0] != '.' {
		return false
	}
	s, _, _ = strings.Cut(s, ";")
	return s == "." || s == ".."
}

// unescape decodes every well-formed %XX and leaves the rest, as lenient servers do.
func unescape(s string) string {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for last := 0; ; {
		out = append(out, s[last:i]...)
		last = i
		if i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			last = i + 3
		} else {
			out = append(out, '%')
			last = i + 1
		}
		next := strings.IndexByte(s[last:], '%')
		if next < 0 {
			return string(append(out, s[last:]...))
		}
		i = last + next
	}
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// stripPrefix cuts prefix, which is decoded, off path, which is percent-encoded.
// The route's pattern matched with repeated slashes taken as one; so does this.
// A path that does not have the prefix is left alone.
func stripPrefix(path, prefix string) string {
	rest := path
	for want, more, ok := nextSegment(prefix); ok; want, more, ok = nextSegment(more) {
		seg, after, ok := nextSegment(rest)
		if !ok || unescape(seg) != want {
			return path
		}
		rest = after
	}
	if rest == "" {
		return "/"
	}
	return rest
}
