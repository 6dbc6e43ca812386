package roster

import (
	"slices"

	"github.com/perfgate/perfgate/limiter/share"
)

// Step is a moment at which the rosters that count for this node changed.
type Step struct {
	At      int64
	Serving bool // this node held a serving lease then: what shrank may be used for a while
	// Whole says that the oldest of Rosters is the first of all and newer than this process,
	// and that nobody has used any bucket before it: the parts begin full.
	Whole   bool
	Rosters []Roster // the settled one, then the pending ones
}

// Line is what this process knows of the rosters, from its start on. It is immutable.
type Line struct {
	self  string
	boot  uint64
	fresh bool // no earlier process of this node can have lent anything
	first int  // number of the first step
	steps []Step
}

// maxSteps bounds the steps that are kept. A bucket that has missed more begins again
// as after a start.
const maxSteps = 32

// NewLine is the line of a process of the node self that begins at now, with the
// rosters that the state has; none before there is one. boot is the newest index that
// the log held when the process started, 0 in the first process of a new node: earlier
// processes may have used what the log gave this node until then.
func NewLine(self string, boot uint64, rosters []Roster, now int64) *Line {
	l := &Line{self: self, boot: boot}
	return l.begin(Step{At: now, Rosters: rosters})
}

// begin appends a step before which there was no roster, in this process.
func (l *Line) begin(s Step) *Line {
	newer := len(s.Rosters) > 0 && s.Rosters[0].First && s.Rosters[0].Index > l.boot
	s.Whole = newer && s.Rosters[0].Whole
	return &Line{self: l.self, boot: l.boot, fresh: newer || l.boot == 0, first: l.first, steps: append(slices.Clone(l.steps), s)}
}

// Fresh reports whether no earlier process of this node had a part of anything, so that no
// loan of one is under way.
func (l *Line) Fresh() bool { return l.fresh }

// Grown reports whether this node counted for itself, in an earlier process, until the
// first roster.
func (l *Line) Grown() bool {
	return l.fresh && l.boot > 0 && !slices.ContainsFunc(l.steps, func(s Step) bool { return s.Whole })
}

// Since is the newest step all of whose rosters are older than an entry of the log. -1:
// there is none among those that are kept.
func (l *Line) Since(index uint64) int {
	for n := l.Now(); n >= l.first; n-- {
		if rs := l.Step(n).Rosters; len(rs) > 0 && rs[len(rs)-1].Index < index {
			return n
		}
	}
	return -1
}

// Next is the line after the state's rosters became these. ok is false where they do not
// follow by one entry: changes in between were missed, and the caller must begin again,
// as after a start.
func (l *Line) Next(rosters []Roster, serving bool, now int64) (next *Line, ok bool) {
	last := l.steps[len(l.steps)-1]
	if !follows(last.Rosters, rosters) {
		return nil, false
	}
	s := Step{At: max(now, last.At), Serving: serving, Rosters: rosters}
	if len(last.Rosters) == 0 {
		next = l.begin(s)
	} else {
		next = &Line{self: l.self, boot: l.boot, fresh: l.fresh, first: l.first, steps: append(slices.Clone(l.steps), s)}
	}
	if n := len(next.steps) - maxSteps; n > 0 {
		next.steps = next.steps[n:]
		next.first += n
	}
	return next, true
}

// follows reports whether one entry leads from old to the rosters after it: one more was
// announced, or the first ones were dropped.
func follows(old, after []Roster) bool {
	if len(after) == 0 {
		return len(old) == 0
	}
	if n := len(old); len(after) == n+1 && same(after[:n], old) {
		return true
	}
	for i := range old {
		if same(old[i:], after) {
			return true
		}
	}
	return false
}

// Same reports whether these are the rosters that count now.
func (l *Line) Same(rosters []Roster) bool { return same(l.Rosters(), rosters) }

func same(a, b []Roster) bool {
	return slices.EqualFunc(a, b, func(x, y Roster) bool { return x.Index == y.Index })
}

// Rosters are those that count now.
func (l *Line) Rosters() []Roster { return l.steps[len(l.steps)-1].Rosters }

// Last is the newest roster, settled or not; it is empty before there is one.
func (l *Line) Last() Roster {
	if rs := l.Rosters(); len(rs) > 0 {
		return rs[len(rs)-1]
	}
	return Roster{}
}

// Now is the number of the last step.
func (l *Line) Now() int { return l.first + len(l.steps) - 1 }

// First is the number of the first step that is kept.
func (l *Line) First() int { return l.first }

// Step is the step of that number, First … Now.
func (l *Line) Step(n int) Step { return l.steps[n-l.first] }

// Base is this node's base at a step: the smallest that any of its rosters gives it.
func (l *Line) Base(n int, name Name) share.Part {
	rs := l.Step(n).Rosters
	if len(rs) == 0 {
		return 0
	}
	base := share.One
	for _, r := range rs {
		base = min(base, r.Base(l.self, name))
	}
	return base
}
