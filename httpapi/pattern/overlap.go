package pattern

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

// endsOverlap reports whether the same segments may be followed by what a and b
// accept, as far as a decides. root is true without any segments: then the path "/" is
// an exact end and a slash at once.
func endsOverlap(a, b ending, root bool) bool {
	switch a {
	case endNever:
		return false
	case endExact:
		return root || b == endExact || b == endSubtree
	}
	return true
}
