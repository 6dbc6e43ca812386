package pattern

import (
	"net/url"
	"strings"
)

// Tree holds values by pattern and finds those whose patterns match a path, in time
// that grows with the path and not with the number of patterns. The zero value is
// empty. After the last [Tree.Add] it does not change, and any goroutine may read it.
//
// Each level of the tree is one segment. The order in which Find comes to the values is
// that of [Compare]: at a segment the literal comes before the wildcard, and that before
// the patterns that end there. So a tree that was filled in the order of Compare is
// read in it. Only one branch of literals fits a path, and with wildcards beside them
// no level is entered twice, so Find visits at most every level once.
type Tree[V any] struct{ root level[V] }

// level is what follows the same segments.
type level[V any] struct {
	literals []literal[V]         // decoded
	by       map[string]*level[V] // the same, where they are more than few
	wild     *level[V]
	ends     []end[V] // in the order in which they were added
}

type literal[V any] struct {
	segment string
	next    *level[V]
}

// few literals are compared one by one, which takes less time than a map does.
const few = 8

type end[V any] struct {
	pattern *Pattern
	value   V
}

// Add adds v under p, which must not change afterwards.
func (t *Tree[V]) Add(p *Pattern, v V) {
	l := &t.root
	for _, seg := range p.segs {
		l = l.child(seg)
	}
	l.ends = append(l.ends, end[V]{p, v})
}

// child is the level behind a segment of a pattern, made if there is none.
func (l *level[V]) child(seg string) *level[V] {
	if seg == wildcard {
		if l.wild == nil {
			l.wild = new(level[V])
		}
		return l.wild
	}
	if next := l.literal(seg); next != nil {
		return next
	}
	next := new(level[V])
	l.literals = append(l.literals, literal[V]{seg, next})
	switch n := len(l.literals); {
	case n > few+1:
		l.by[seg] = next
	case n == few+1:
		l.by = make(map[string]*level[V], n)
		for _, c := range l.literals {
			l.by[c.segment] = c.next
		}
	}
	return next
}

// literal is the level behind a decoded segment, nil if there is none.
func (l *level[V]) literal(seg string) *level[V] {
	if l.by != nil {
		return l.by[seg]
	}
	for i := range l.literals {
		if l.literals[i].segment == seg {
			return l.literals[i].next
		}
	}
	return nil
}

// Find calls visit with each value whose pattern matches path, as
// [Pattern.MatchPath] says, until visit returns true, and reports whether it did.
func (t *Tree[V]) Find(path string, visit func(V) bool) bool { return t.root.find(path, visit) }

func (l *level[V]) find(path string, visit func(V) bool) bool {
	if len(l.literals) > 0 || l.wild != nil {
		if seg, rest, ok := nextSegment(path); ok {
			if next := l.sent(seg); next != nil && next.find(rest, visit) {
				return true
			}
			if l.wild != nil && l.wild.find(rest, visit) {
				return true
			}
		}
	}
	for i := range l.ends {
		if e := &l.ends[i]; e.pattern.matchEnd(path) && visit(e.value) {
			return true
		}
	}
	return false
}

// sent is the level behind a segment of a path, percent-encoded as it was sent; nil
// if there is none. See sameSegment.
func (l *level[V]) sent(seg string) *level[V] {
	if len(l.literals) > 0 && strings.IndexByte(seg, '%') >= 0 {
		var err error
		if seg, err = url.PathUnescape(seg); err != nil {
			return nil
		}
	}
	return l.literal(seg)
}
