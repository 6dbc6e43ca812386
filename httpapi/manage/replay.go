package manage

import (
	"cmp"
	"slices"
	"time"

	"github.com/perfgate/perfgate/limiter"
)

// replay runs a proposed limit over recorded traffic. It is pure.
//
// A record tells how many units came in each minute, not when within it. So two runs
// stand for what may have been: in the even one, the units of a minute are spread over
// it; in the other, they all come at its begin. The lowest limit is given for the even
// run, and as the one that refuses nothing whenever within their minutes units came.
type replay struct {
	window limiter.Window
	limit  int64
	burst  int64 // of a bucket; 0: the limit
	counts map[string][]load
}

// load is the units that came in one step for one count; key names the count.
type load struct {
	at    time.Time
	key   string
	units int64
}

// add takes units of the step at; steps come in order.
func (r *replay) add(at time.Time, key string, units int64) {
	if units <= 0 {
		return
	}
	list := r.counts[key]
	if n := len(list); n > 0 && list[n-1].at.Equal(at) {
		list[n-1].units += units
		return
	}
	r.counts[key] = append(list, load{at, key, units})
}

// refusal is the units of one step that would have been refused, in the even run.
type refusal struct {
	load
	refused int64
}

// outcome is what a replay says.
type outcome struct {
	units, even, atOnce int64
	refusals            []refusal // of the even run, in order of time
	lowestEven, certain int64
}

// maxRefusals bounds the steps that are listed.
const maxRefusals = 100

func (r *replay) run() (out outcome) {
	for _, list := range r.counts {
		for _, l := range list {
			out.units += l.units
		}
		out.even += r.refused(list, r.limit, false, func(f refusal) { out.refusals = append(out.refusals, f) })
		out.atOnce += r.refused(list, r.limit, true, nil)
		out.lowestEven = max(out.lowestEven, r.lowest(list, func(limit int64) bool { return r.refused(list, limit, false, nil) == 0 }))
		out.certain = max(out.certain, r.lowest(list, func(limit int64) bool { return r.certain(list, limit) }))
	}
	slices.SortFunc(out.refusals, func(a, b refusal) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.key, b.key))
	})
	out.refusals = out.refusals[:min(len(out.refusals), maxRefusals)]
	return out
}

// lowest is the lowest limit with which fits holds.
func (r *replay) lowest(list []load, fits func(limit int64) bool) int64 {
	lo, hi := int64(1), int64(1)
	for _, l := range list {
		hi += l.units
	}
	for lo < hi {
		if mid := lo + (hi-lo)/2; fits(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// size is how many units the bucket of a limit holds, and how many it gets back a minute.
func (r *replay) size(limit int64) (burst, perMinute float64) {
	burst = float64(limit)
	if r.burst > 0 {
		burst = float64(r.burst)
	}
	return burst, float64(limit) * 60e9 / float64(r.window.Nanoseconds())
}

// refused is how many units of list a limit would have refused.
func (r *replay) refused(list []load, limit int64, atOnce bool, note func(refusal)) (sum int64) {
	var period time.Time
	left := int64(0)
	burst, perMinute := 0.0, 0.0
	if !r.window.Calendar() {
		burst, perMinute = r.size(limit)
	}
	tokens := burst // at the begin of the minute
	for i, l := range list {
		passed := int64(0)
		if r.window.Calendar() {
			if p := periodOf(r.window, l.at); !p.Equal(period) {
				period, left = p, limit
			}
			passed = min(l.units, left)
			left -= passed
		} else {
			if i > 0 {
				tokens = min(burst, tokens+perMinute*(l.at.Sub(list[i-1].at).Minutes()-1))
			}
			there := tokens
			if !atOnce {
				there += perMinute
			}
			passed = min(l.units, int64(there+1e-6)) // a rounding must not refuse a unit
			tokens = min(burst, tokens+perMinute-float64(passed))
			if atOnce {
				tokens = min(burst, max(there-float64(passed), 0)+perMinute)
			}
		}
		if refused := l.units - passed; refused > 0 {
			if sum += refused; note != nil {
				note(refusal{l, refused})
			}
		}
	}
	return sum
}

// certain reports whether a limit refuses nothing, whenever within their minutes the units
// of list came: no run of minutes may hold more than the burst and what comes back between
// the end of its first minute and the begin of its last.
func (r *replay) certain(list []load, limit int64) bool {
	if r.window.Calendar() {
		return r.refused(list, limit, false, nil) == 0
	}
	burst, perMinute := r.size(limit)
	runs := 0.0 // the most that a run of minutes that ends here needs at once
	for i, l := range list {
		most := float64(l.units)
		if i > 0 {
			gap := l.at.Sub(list[i-1].at).Minutes()
			runs = float64(l.units) + max(float64(list[i-1].units)-perMinute*(gap-1), runs-perMinute*gap, 0)
			most = runs
		}
		if most > burst+1e-6 {
			return false
		}
	}
	return true
}

// periodOf is the begin of the calendar window that t is in.
func periodOf(w limiter.Window, t time.Time) time.Time {
	t = t.UTC()
	if w == limiter.EachMonth {
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}
