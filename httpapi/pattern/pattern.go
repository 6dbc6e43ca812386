package pattern

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
)

// Pattern is a compiled pattern. The zero value is the compiled "".
type Pattern struct {
	text    string
	method  string   // the one it names; "" is none
	segs    []string // decoded literals; wildcard for any one segment
	end     ending
	methods bool // the pattern names a method
}

// wildcard stands for one segment of any text. No literal segment is empty.
const wildcard = ""

// ending is the part of a path that may follow the segments. The order is that of
// [Compare].
type ending uint8

const (
	endNever   ending = iota // matches nothing at all
	endSubtree               // anything below, or nothing
	endRest                  // {x...}: anything below, a slash at least
	endExact                 // no slash follows
	endSlash                 // slashes follow, and nothing else
)

// Compile gives text its meaning, well formed or not: see [Parse] for those that
// are. A text without a path that begins with "/" matches nothing. The work is
// linear in the length of text.
func Compile(text string) Pattern {
	p := Pattern{text: text}
	path := text
	prefix := !strings.Contains(text, "{")
	if method, rest, ok := strings.Cut(text, " "); ok {
		p.method, p.methods, prefix = method, true, false
		path = strings.TrimLeft(rest, " \t")
	}
	if !strings.HasPrefix(path, "/") {
		return p
	}
	path, closed := strings.CutSuffix(path, "{$}")
	slash := strings.HasSuffix(path, "/")
	switch {
	case closed && slash:
		p.end = endSlash
	case closed, !prefix && !slash:
		p.end = endExact
	default:
		p.end = endSubtree
	}
	p.segs = make([]string, 0, countSegments(path))
	for {
		seg, rest, ok := nextSegment(path)
		if !ok {
			return p
		}
		switch {
		case seg[0] != '{' || seg[len(seg)-1] != '}':
			p.segs = append(p.segs, seg)
		case rest == "" && strings.HasSuffix(seg, "...}"):
			p.end = endRest
			return p
		default:
			p.segs = append(p.segs, wildcard)
		}
		path = rest
	}
}

// String is the text that p was compiled from.
func (p *Pattern) String() string { return p.text }

// Method is the method that p names; "" for none.
func (p *Pattern) Method() string { return p.method }

// MatchPath reports whether path, percent-encoded as it was sent, is one of
// p's. The method is not looked at.
func (p *Pattern) MatchPath(path string) bool {
	for _, want := range p.segs {
		seg, rest, ok := nextSegment(path)
		if !ok || want != wildcard && !sameSegment(want, seg) {
			return false
		}
		path = rest
	}
	return p.matchEnd(path)
}

// matchEnd reports whether rest may follow p's segments.
func (p *Pattern) matchEnd(rest string) bool {
	switch p.end {
	case endSubtree:
		return true
	case endRest:
		return rest != ""
	case endExact:
		return rest == "" || rest == "/" && len(p.segs) == 0
	case endSlash:
		return rest != "" && strings.Trim(rest, "/") == ""
	}
	return false
}

// MayBegin reports whether a path of p's may begin with the segments of prefix, a
// decoded path.
func (p *Pattern) MayBegin(prefix string) bool {
	for i := 0; ; i++ {
		seg, rest, ok := nextSegment(prefix)
		switch {
		case !ok:
			return true
		case i == len(p.segs):
			return p.end == endSubtree || p.end == endRest
		case p.segs[i] != wildcard && p.segs[i] != seg:
			return false
		}
		prefix = rest
	}
}

// MatchMethod reports whether p takes method: the one that it names, HEAD where
// that is GET, any where it names none. "" is a method that is not known, which
// every pattern takes.
func (p *Pattern) MatchMethod(method string) bool {
	return !p.methods || method == "" || method == p.method || method == http.MethodHead && p.method == http.MethodGet
}

// Compare orders patterns, the most specific first: segment by segment a literal
// comes before a wildcard, that before the end; then an exact end before an open
// one; then a pattern that names a method before one that does not.
func Compare(a, b *Pattern) int {
	for i := 0; i < len(a.segs) || i < len(b.segs); i++ {
		if c := cmp.Compare(b.rank(i), a.rank(i)); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(b.end, a.end); c != 0 {
		return c
	}
	switch {
	case a.methods == b.methods:
		return 0
	case a.methods:
		return -1
	}
	return 1
}

func (p *Pattern) rank(i int) int {
	switch {
	case i >= len(p.segs):
		return 0
	case p.segs[i] == wildcard:
		return 1
	}
	return 2
}

// nextSegment cuts the first segment off path; ok is false when only slashes are left.
func nextSegment(path string) (seg, rest string, ok bool) {
	path = strings.TrimLeft(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:], true
	}
	return path, "", path != ""
}

func countSegments(path string) (n int) {
	for {
		_, rest, ok := nextSegment(path)
		if !ok {
			return n
		}
		path = rest
		n++
	}
}

// sameSegment compares a decoded literal with an encoded segment of a path. A
// segment that cannot be decoded equals none.
func sameSegment(literal, seg string) bool {
	if strings.IndexByte(seg, '%') < 0 {
		return literal == seg
	}
	seg, err := url.PathUnescape(seg)
	return err == nil && literal == seg
}

// StripPrefix cuts prefix, which is decoded, off path, which is percent-encoded,
// by whole segments and with repeated slashes taken as one, as patterns match.
// A path that does not have the prefix is left alone. The result is never empty.
func StripPrefix(path, prefix string) string {
	rest := path
	for want, more, ok := nextSegment(prefix); ok; want, more, ok = nextSegment(more) {
		seg, after, ok := nextSegment(rest)
		if !ok || !sameSegment(want, seg) {
			return path
		}
		rest = after
	}
	if rest == "" {
		return "/"
	}
	return rest
}
