package lease

// floor is R, the newest index that a write waited for: a node that is granted a
// lease must have applied it. It remembers enough of R's past for the join gate.
type floor struct {
	now    uint64
	raised int64  // when it last rose
	lag    int64  // how far back before looks
	base   uint64 // R when the term began
	past   [samples]sample
	next   int
}

// sample says that R was r just before at.
type sample struct {
	at int64
	r  uint64
}

// samples cover the lag at an eighth of it each, with some to spare, whatever
// the rate of writes is; the gate looks back by up to an eighth more than the lag.
const samples = 10

func (f *floor) begin(r uint64) { f.now, f.base = r, r }

func (f *floor) raise(r uint64, now int64) {
	if r <= f.now {
		return
	}
	newest := f.past[(f.next+samples-1)%samples]
	if newest.at == 0 || now-newest.at >= f.lag/8 {
		f.past[f.next] = sample{now, f.now}
		f.next = (f.next + 1) % samples
	}
	f.now, f.raised = r, now
}

// before is R as of lag ago, or a little earlier. No node is let in that has not
// applied what the term began with.
func (f *floor) before(now int64) uint64 {
	then := now - f.lag
	if f.raised <= then {
		return f.now
	}
	r := f.base
	for _, s := range f.past {
		if s.at != 0 && s.at <= then {
			r = max(r, s.r)
		}
	}
	return r
}
