package pattern

import "fmt"

// Paths identifies the paths that p matches: two well-formed patterns have the same
// ones if and only if this is equal, however they are written. Methods are not looked at.
func (p *Pattern) Paths() string {
	end := p.end
	if len(p.segs) == 0 && end == endRest {
		end = endSubtree // the path of a request begins with the slash that {x...} asks for
	}
	return fmt.Sprintf("%q %d", p.segs, end)
}

// Overlaps reports whether some path is one of a's and one of b's. Methods are not
// looked at.
func Overlaps(a, b *Pattern) bool {
	if len(a.segs) > len(b.segs) {
		a, b = b, a
	}
	for i, seg := range a.segs {
		if seg != wildcard && b.segs[i] != wildcard && seg != b.segs[i] {
			return false
		}
	}
	if len(a.segs) < len(b.segs) { // every path of b has more segments than a
		return b.end != endNever && (a.end == endSubtree || a.end == endRest)
	}
	return endsOverlap(a.end, b.end, len(a.segs) == 0) && endsOverlap(b.end, a.end, len(a.segs) == 0)
}

// endsOverlap reports whether a leaves room for a path with the same segments and an
// end that b accepts. Two endings overlap if each of them leaves room for
// the other. root means that there are no segments: the path "/" then ends both
// exactly and with a slash.
func endsOverlap(a, b ending, root bool) bool {
	switch a {
	case endNever:
		return false
	case endExact:
		return root || b == endExact || b == endSubtree
	}
	return true
}

// Covers reports whether every path of b is one of a's, and b has some. Methods are not
// looked at.
func Covers(a, b *Pattern) bool {
	if len(a.segs) > len(b.segs) || b.end == endNever {
		return false
	}
	for i, seg := range a.segs {
		if seg != wildcard && seg != b.segs[i] {
			return false
		}
	}
	if len(a.segs) < len(b.segs) { // every path of b has more segments than a
		return a.end == endSubtree || a.end == endRest
	}
	switch a.end {
	case endSubtree:
		return true
	case endRest:
		return b.end == endRest || b.end == endSlash || len(a.segs) == 0
	}
	return a.end == b.end
}
