package proxy

import (
	"net/http"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

func TestSeenCosts(t *testing.T) {
	var s seenCosts
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		after time.Duration
		note  store.Money
		want  store.Money
	}{
		{0, 0, 0}, {0, 5, 5}, {time.Minute, 3, 5}, {11 * time.Minute, 2, 5}, {19 * time.Minute, 0, 5},
		{22 * time.Minute, 0, 2}, {50 * time.Minute, 0, 0}, {51 * time.Minute, 1, 1},
	} {
		now := at.Add(step.after)
		if s.note(now, step.note); s.largest(now) != step.want {
			t.Errorf("step %d: %d, want %d", i, s.largest(now), step.want)
		}
	}
}

// A call without a bound reserves the largest cost seen lately, over a reload too, and
// at most the key's budget.
func TestUnboundedCallReservesWhatWasSeen(t *testing.T) {
	cost := "0.9"
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cost", cost) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Cost: "header:X-Cost"})
	extra := store.Extra{}
	if r.gate.rec.Extra != nil {
		extra = *r.gate.rec.Extra
	}
	extra.Budget = 2 * store.MoneyUnit
	r.gate.rec.Extra = &extra
	for i, step := range []struct {
		cost    string
		reserve store.Money
	}{
		{"0.9", 0}, {"0.1", 9 * store.MoneyUnit / 10}, {"50", 9 * store.MoneyUnit / 10}, {"0.1", 2 * store.MoneyUnit},
	} {
		cost = step.cost
		r.Reload(Settings{Table: r.live.Load().table})
		_, before, _ := r.gate.money()
		text(t, r.do("GET", "/", ""))
		r.log.next(t)
		if _, after, _ := r.gate.money(); after-before != step.reserve {
			t.Errorf("request %d reserves %d, want %d", i, after-before, step.reserve)
		}
	}
}
