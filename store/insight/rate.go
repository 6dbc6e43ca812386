package insight

import (
	"fmt"
	"math"
	"time"
)

// rates are the requests of a key by hour of the week and of the day.
type rates struct {
	Week  [168]float32 // mean of each hour of the week
	Weeks [168]uint8   // how many times it was learned
	Day   [24]float32
	Days  [24]uint8
	// Square is the mean square of the difference between an hour and what was expected of
	// it: an irregular key is judged less strictly.
	Square float32
	// Level is by how much the last days are above the habit: a key whose traffic has grown
	// is reported once, and not for weeks.
	Level float32
	Begun uint32 // the first hour
	Hour  uint32 // at hand
	Count uint32 // requests in it
}

// Figures of rates.
const (
	rateAge      = 8 * 24 // hours that are learned first: a whole week and a day
	rateLeast    = 100    // requests in an hour
	rateTimes    = 2.5    // what is expected
	rateSpread   = 7      // root mean squares above
	weeksCertain = 3      // after that many weeks, the hour of the day no longer counts
	learnWeek    = 0.3    // the weight of a new value
	learnDay     = 0.15
	learnSquare  = 0.01
	learnLevel   = 0.03
	maxLevel     = 50
	maxPause     = 8 * 24 // hours without requests that are learned: a longer pause is no habit
)

// rate counts a request in its hour, and judges the hour when it exceeds its limit.
func (h *habit) rate(e *Engine, now int64, f Finding) {
	this := uint32(now / hour)
	if this != h.Rates.Hour {
		h.endHours(this)
	}
	h.Rates.Count++
	if h.limit == 0 {
		h.limit = h.Rates.limit(h.Rates.Hour)
	}
	if float32(h.Rates.Count) <= h.limit || this-h.Rates.Begun < rateAge || !h.once(atRate, now) {
		return
	}
	expected := h.Rates.expected(this)
	at := time.Unix(now, 0).UTC()
	f.Kind, f.Window = Rate, now%hour+1
	f.Usual = fmt.Sprintf("about %.0f requests on %ss from %02d:00 to %02d:00 UTC, rarely more than %.0f", expected, at.Weekday(), at.Hour(), (at.Hour()+1)%24, h.limit)
	f.Seen = fmt.Sprintf("%d requests from %02d:00 to %02d:%02d", h.Rates.Count, at.Hour(), at.Hour(), at.Minute())
	e.find(f, day)
}

// endHours learns the hour at hand and those without requests after it. The habit stands
// still while a key is not used for longer than any weekly job is.
func (h *habit) endHours(this uint32) {
	if h.Rates.Hour == 0 {
		h.Rates.Hour, h.Rates.Count, h.Rates.Begun = this, 0, this
		h.limit = 0
		return
	}
	end := this
	if this-h.Rates.Hour > maxPause {
		end = h.Rates.Hour + 1
	}
	for ; h.Rates.Hour < end; h.Rates.Hour++ {
		h.Rates.learn(h.Rates.Hour, float32(h.Rates.Count))
		h.Rates.Count = 0
	}
	h.Rates.Hour, h.limit = this, 0
}

// slots are the places of an hour. 1970 began on a Thursday.
func slots(hour uint32) (week, day int) { return int((hour + 3*24) % 168), int(hour % 24) }

// expected is what the habit says of an hour, with the hours beside it: work shifts.
func (r *rates) expected(hour uint32) float32 {
	w, d := slots(hour)
	var out float32
	for _, i := range []int{167, 0, 1} {
		out = max(out, r.Week[(w+i)%168])
	}
	if r.Weeks[w] < weeksCertain {
		for _, i := range []int{23, 0, 1} {
			out = max(out, r.Day[(d+i)%24])
		}
	}
	return out * max(1, r.Level)
}

// limit is the number of requests in an hour from which it is unusual.
func (r *rates) limit(hour uint32) float32 {
	return max(rateLeast, rateTimes*r.expected(hour)+rateSpread*float32(math.Sqrt(float64(r.Square))))
}

// learn takes an hour that is over. Beyond its limit it counts as the limit: one attack
// must not become the habit.
func (r *rates) learn(hour uint32, count float32) {
	w, d := slots(hour)
	expected := r.expected(hour)
	plain := expected / max(1, r.Level)
	if r.Weeks[w] > 0 {
		count = min(count, r.limit(hour))
	}
	diff := count - r.Week[w]*max(1, r.Level)
	if r.Weeks[w] == 0 {
		diff = count - expected
	}
	r.Square += learnSquare * (diff*diff - r.Square)
	if plain >= 1 {
		r.Level += learnLevel * (min(count/plain, maxLevel) - r.Level)
	}
	learn(&r.Week[w], &r.Weeks[w], count, learnWeek)
	learn(&r.Day[d], &r.Days[d], count, learnDay)
}

// learn moves a mean to a new value: by an equal part of all values at first.
func learn(mean *float32, times *uint8, value, weight float32) {
	if n := float32(*times); 1/(n+1) > weight {
		weight = 1 / (n + 1)
	}
	*mean += weight * (value - *mean)
	if *times < math.MaxUint8 {
		*times++
	}
}
