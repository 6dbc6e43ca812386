package roster

import "slices"

// Saved is a line between a clean stop of its node and the next start.
type Saved struct {
	Boot  uint64
	Fresh bool
	First int
	Steps []Step
}

// Save returns the line as the next process of the node goes on with it.
func (l *Line) Save() Saved { return Saved{l.boot, l.fresh, l.first, l.steps} }

// Restore is the line that was saved, by a clock that is later by shift now.
func Restore(self string, s *Saved, shift int64) *Line {
	l := &Line{self: self, boot: s.Boot, fresh: s.Fresh, first: s.First, steps: slices.Clone(s.Steps)}
	for i := range l.steps {
		l.steps[i].At += shift
	}
	return l
}
