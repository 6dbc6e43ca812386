package manage

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/limiter"
)

var replayStart = time.Date(2026, 11, 15, 12, 0, 0, 0, time.UTC)

func replayOf(w limiter.Window, limit, burst int64, units map[int]int64, minutes int) *replay {
	r := &replay{window: w, limit: limit, burst: burst, counts: map[string][]load{}}
	for i := range minutes {
		r.add(replayStart.Add(time.Duration(i)*time.Minute), "a", units[i])
	}
	return r
}

func TestReplaySteps(t *testing.T) {
	for name, c := range map[string]struct {
		window       limiter.Window
		limit, burst int64
		units        map[int]int64
		want         outcome
	}{
		"nothing":         {limiter.EachMinute, 5, 0, nil, outcome{}},
		"below":           {limiter.EachMinute, 60, 0, map[int]int64{0: 50, 1: 50}, outcome{units: 100, lowestEven: 34, certain: 100}},
		"apart":           {limiter.EachMinute, 60, 0, map[int]int64{0: 50, 2: 50}, outcome{units: 100, lowestEven: 25, certain: 50}},
		"above":           {limiter.EachMinute, 60, 0, map[int]int64{0: 200}, outcome{units: 200, even: 80, atOnce: 140, lowestEven: 100, certain: 200}},
		"with a burst":    {limiter.EachMinute, 60, 10, map[int]int64{0: 100}, outcome{units: 100, even: 30, atOnce: 90, lowestEven: 90, certain: 101}},
		"of an hour":      {limiter.EachHour, 60, 0, map[int]int64{0: 61, 1: 2}, outcome{units: 63, even: 1, atOnce: 2, lowestEven: 61, certain: 63}},
		"of a day":        {limiter.EachDay, 60, 0, map[int]int64{0: 50, 100: 50, 800: 60}, outcome{units: 160, even: 40, atOnce: 40, lowestEven: 100, certain: 100}},
		"of a day, apart": {limiter.EachDay, 60, 0, map[int]int64{719: 60, 720: 60}, outcome{units: 120, lowestEven: 60, certain: 60}},
		"of a month":      {limiter.EachMonth, 100, 0, map[int]int64{0: 60, 1500: 60}, outcome{units: 120, even: 20, atOnce: 20, lowestEven: 120, certain: 120}},
	} {
		got := replayOf(c.window, c.limit, c.burst, c.units, 1600).run()
		if got.units != c.want.units || got.even != c.want.even || got.atOnce != c.want.atOnce || got.lowestEven != c.want.lowestEven || got.certain != c.want.certain {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// The limit that is said to refuse nothing refuses nothing, whenever within their minutes
// the units came: a real bucket agrees, and so it does at the limit of the even run if
// they came evenly.
func TestReplayAgreesWithBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := map[int]int64{}
		for i := range 12 {
			units[i] = rapid.SampledFrom([]int64{0, 0, 1, 5, 30, 61}).Draw(t, "units")
		}
		w := rapid.SampledFrom([]limiter.Window{limiter.EachMinute, limiter.EachHour}).Draw(t, "window")
		got := replayOf(w, 10, 0, units, 12).run()
		if got.units == 0 {
			return
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for _, even := range []bool{false, true} {
			limit := got.certain
			if even {
				limit = got.lowestEven
			}
			buckets, n := limiter.NewBuckets(64), 0
			pace := limiter.Pace{Limit: limit, Burst: limit, Window: w.Nanoseconds()}
			for i := range 12 {
				for k := range units[i] {
					at := int64(i)*60e9 + (k+1)*60e9/units[i] - 1
					if !even { // all at one moment, as late or as early as can be
						at = int64(i)*60e9 + []int64{0, 60e9 - 1, 30e9}[n%3]
					}
					if v := buckets.Take(limiter.NameOf("a"), pace, 1, at, limiter.Forever); !v.Allowed && (!even || v.RetryAfter > 60) {
						t.Fatalf("%d per %v refuses in minute %d of %v (even: %v)", limit, w, i, units, even)
					}
				}
				n += rng.IntN(3)
			}
		}
	})
}
