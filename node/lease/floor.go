package lease

// floor is R, the newest index that a write waited for: a node must have applied
// it before it is granted a lease. It keeps as much of R's past as the join gate
// needs.
type floor struct {
	now    uint64
	raised int64  // time of the last increase
	lag    int64  // age of the value that before returns
	base   uint64 // R when the term began
	past   [samples]sample
	next   int
}

// sample records that R was r just before at.
type sample struct {
	at int64
	r  uint64
}

// samples, an eighth of the lag apart, cover the lag with some to spare at any
// rate of writes. The gate looks back by up to an eighth more than the lag.
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

// before returns R as of lag ago, or a little earlier. It is never less than R at
// the beginning of the term, so that a node needs at least that for a lease.
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
