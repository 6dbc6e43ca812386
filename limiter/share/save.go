package share

// Saved is a bucket between a clean stop of its node and the next start. Parts of other
// nodes are not in it: they end by themselves. Times are of the node's clock.
type Saved struct {
	Pace              Pace
	Tok, At           int64
	Base              Part
	Quarantine, Grace int64
	Lent, Holds       []SavedRight
}

// SavedRight is a part that is lent until End, or a level of the cap that is held.
type SavedRight struct {
	End   int64
	Part  Part
	Level int64
}

// Save ends the use of a bucket, and returns what the next process of the node goes on
// with: its own part, less what it has lent, and the tokens in that.
func Save(b *Bucket, now int64) Saved {
	now = b.settle(now)
	s := Saved{Pace: b.Pace(), Base: b.base.wide()}
	if m := wake(b); m != nil {
		m.held, m.loose = nil, nil
		b.rights(now)
		s.Quarantine, s.Grace = m.quarantine, m.grace
		for _, l := range m.lent {
			s.Lent = append(s.Lent, SavedRight{End: l.end, Part: l.part})
		}
		for _, h := range m.holds {
			s.Holds = append(s.Holds, SavedRight{End: h.end, Level: h.level})
		}
	}
	s.Tok, s.At = b.tok, b.at
	return s
}

// Restore is the bucket that was saved, by a clock that is later by shift now. Borrowers of
// before talk to the process that has ended: what they have ends by itself.
func Restore(s *Saved, shift int64) *Bucket {
	b := New(s.Pace, s.Base, s.At+shift)
	m := &more{quarantine: s.Quarantine + shift, grace: s.Grace + shift}
	for _, l := range s.Lent {
		m.lent = append(m.lent, loan{to: nobody, end: l.End + shift, part: l.Part})
	}
	for _, h := range s.Holds {
		m.holds = append(m.holds, hold{end: h.End + shift, level: h.Level})
	}
	b.more, b.tok = m, s.Tok
	m.expire(b.at)
	b.rights(b.at)
	return b
}
