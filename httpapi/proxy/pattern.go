package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// A pattern is a parsed route path: the syntax of http.ServeMux without hosts,
//
//	/v1/models          whole segments as a prefix: /v1/models and /v1/models/x, not /v1/modelsx
//	GET /v1/models      that one path (HEAD too)
//	/v1/files/          that subtree, and /v1/files itself
//	/v1/files/{id}      one segment, not empty
//	/v1/files/{rest...} the rest
//	/v1/files/{$}       /v1/files/ alone;  /v1/files{$}  /v1/files alone
//
// Unlike ServeMux it never redirects, and repeated slashes in a request match
// as one: otherwise //admin/x would slip past a route for /admin/ to a laxer one.
type pattern struct {
	method string // "" matches any
	segs   []segment
	end    ending
}

type segment struct {
	literal string
	wild    bool
}

type ending uint8

const (
	endSubtree ending = iota // anything below, or nothing
	endRest                  // {x...}: anything below, a slash at least
	endExact                 // no slash follows
	endSlash                 // exactly one slash follows
)

func parsePattern(s string) (pattern, error) {
	var p pattern
	path := s
	if method, rest, ok := strings.Cut(s, " "); ok {
		if !validMethod(method) {
			return p, fmt.Errorf("%q is not a method", method)
		}
		p.method, path = method, strings.TrimLeft(rest, " \t")
	}
	if !strings.HasPrefix(path, "/") {
		return p, errors.New(`the path must begin with "/" (a host goes into the route's host)`)
	}
	if strings.ContainsAny(path, "?# \\%") {
		return p, errors.New("write the path decoded, without query, fragment, space or backslash")
	}
	p.end = endSubtree
	plain := p.method == "" && !strings.Contains(path, "{")
	if rest, ok := strings.CutSuffix(path, "{$}"); ok {
		p.end, path = endExact, rest
		if strings.HasSuffix(rest, "/") {
			p.end = endSlash
		}
	} else if !strings.HasSuffix(path, "/") && !plain {
		p.end = endExact
	}
	names := map[string]bool{}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "" {
		parts = nil
	}
	for i, part := range parts {
		switch {
		case part == "" || part == "." || part == "..":
			return p, errors.New("the path has an empty or dot segment, which no request can match")
		case !strings.ContainsAny(part, "{}"):
			p.segs = append(p.segs, segment{literal: part})
		default:
			name, ok := strings.CutPrefix(part, "{")
			if ok {
				name, ok = strings.CutSuffix(name, "}")
			}
			name, rest := strings.CutSuffix(name, "...")
			if !ok || !isIdent(name) {
				return p, fmt.Errorf("%q: a wildcard is a whole segment, {name} or {name...}", part)
			}
			if names[name] {
				return p, fmt.Errorf("the wildcard %q appears twice", name)
			}
			names[name] = true
			if rest {
				if i != len(parts)-1 || strings.HasSuffix(path, "/") {
					return p, fmt.Errorf("%q must come last", part)
				}
				p.end = endRest
				continue
			}
			p.segs = append(p.segs, segment{wild: true})
		}
	}
	return p, nil
}

func isIdent(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func validMethod(m string) bool {
	return m != "" && httpguts.ValidHeaderFieldName(m) && m == strings.ToUpper(m) &&
		m != http.MethodConnect && m != http.MethodTrace
}

// match reports whether the path, percent-encoded as it was sent, is one of p's.
func (p *pattern) match(path string) bool {
	for i := range p.segs {
		seg, rest, ok := nextSegment(path)
		if !ok || !p.segs[i].match(seg) {
			return false
		}
		path = rest
	}
	switch p.end {
	case endSubtree:
		return true
	case endRest:
		return path != ""
	case endExact:
		return path == "" || path == "/" && len(p.segs) == 0
	default:
		return path != "" && strings.Trim(path, "/") == ""
	}
}

func (s segment) match(seg string) bool {
	if s.wild {
		return true
	}
	if strings.IndexByte(seg, '%') >= 0 {
		seg = unescape(seg)
	}
	return seg == s.literal
}

// nextSegment cuts the first segment off path; ok is false when only slashes are left.
func nextSegment(path string) (seg, rest string, ok bool) {
	path = strings.TrimLeft(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:], true
	}
	return path, "", path != ""
}

// specificity orders patterns, the most specific first: segment by segment a
// literal comes before a wildcard, that before the end, an exact end before an open one.
func specificity(a, b *pattern) int {
	for i := 0; i < len(a.segs) || i < len(b.segs); i++ {
		if c := cmp.Compare(b.rank(i), a.rank(i)); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(b.end, a.end); c != 0 {
		return c
	}
	return cmp.Compare(a.methodRank(), b.methodRank())
}

func (p *pattern) methodRank() int {
	if p.method != "" {
		return 0
	}
	return 1
}

func (p *pattern) rank(i int) int {
	switch {
	case i >= len(p.segs):
		return 0
	case p.segs[i].wild:
		return 1
	}
	return 2
}
