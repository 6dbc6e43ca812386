package pattern

import "strings"

// maxDecodings bounds how often a path is decoded in search of hidden parts.
const maxDecodings = 3

// CheckPath says why an upstream could read the path of a request as another path
// than the one that is routed, "" if none could. path is decoded once, rawPath as
// it was sent where that differs, as in [net/url.URL]. encodedSlash reports a slash
// that only decoding shows; the route decides whether that is allowed.
func CheckPath(path, rawPath string) (encodedSlash bool, why string) {
	if rawPath != "" {
		encodedSlash = slashes(rawPath) != slashes(path)
	}
	for range maxDecodings {
		if why := Hidden(path); why != "" {
			return false, "has " + why
		}
		if strings.IndexByte(path, '%') < 0 {
			return encodedSlash, ""
		}
		deeper := Unescape(path)
		if deeper == path {
			return encodedSlash, ""
		}
		if plain(deeper) > plain(path) {
			// An upstream that decodes twice would serve another path than was routed.
			return false, "is percent-encoded twice"
		}
		encodedSlash = encodedSlash || slashes(deeper) != slashes(path)
		path = deeper
	}
	return false, "is percent-encoded too often"
}

// plain counts the characters of s that stand in no well-formed %XX, slashes and
// percent signs left out.
func plain(s string) (n int) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			i += 2
		case c != '%' && c != '/':
			n++
		}
	}
	return n
}

func slashes(s string) int { return strings.Count(s, "/") }

// Hidden names the fault of a decoded path, or "".
func Hidden(path string) string {
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

// Unescape decodes every well-formed %XX and leaves the rest, as lenient servers do.
func Unescape(s string) string {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for last := 0; ; {
		out = append(out, s[last:i]...)
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
