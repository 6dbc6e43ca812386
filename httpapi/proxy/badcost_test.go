package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

// A cost that is no amount, an absurd one or above the bound on the call is an error in
// the log and counts in the metric of its route, wherever the upstream states it, and
// the call still costs something. A sound cost is neither logged nor counted.
func TestBadCostsAreReported(t *testing.T) {
	const half, most = store.MoneyUnit / 2, store.MaxAmount
	for _, c := range []struct {
		name    string
		stated  []string
		want    store.Money // on a route that reserves half a unit
		unbound store.Money // on one without a bound
		bad     bool        // reported on both
		above   bool        // reported where there is a bound
	}{
		{name: "an amount", stated: []string{"0.25"}, want: half / 2, unbound: half / 2},
		{name: "nothing", stated: []string{"0"}},
		{name: "at the bound", stated: []string{" 0.5 "}, want: half, unbound: half},
		{name: "above the bound", stated: []string{"0.500000001"}, want: half + 1, unbound: half + 1, above: true},
		{name: "the largest amount", stated: []string{"9000000"}, want: most, unbound: most, above: true},
		{name: "a hair more", stated: []string{"9000000.000000001"}, want: most, unbound: most, bad: true},
		{name: "more than 64 bits of billionths", stated: []string{"9223372037"}, want: most, unbound: most, bad: true},
		{name: "wraps around to one unit", stated: []string{"18446744074.709551616"}, want: most, unbound: most, bad: true},
		{name: "a large power", stated: []string{"1e99"}, want: most, unbound: most, bad: true},
		{name: "more than a float holds", stated: []string{"1e999"}, want: most, unbound: most, bad: true},
		{name: "infinity", stated: []string{"Inf"}, want: most, unbound: most, bad: true},
		{name: "no number", stated: []string{"NaN"}, want: half, bad: true},
		{name: "negative", stated: []string{"-1"}, want: half, bad: true},
		{name: "negative and absurd", stated: []string{"-1e99"}, want: half, bad: true},
		{name: "with a sign", stated: []string{"+2"}, want: half, bad: true},
		{name: "words", stated: []string{"two"}, want: half, bad: true},
		{name: "empty", stated: []string{""}, want: half, bad: true},
		{name: "with a currency", stated: []string{"0.1 EUR"}, want: half, bad: true},
		{name: "a list", stated: []string{"0.1, 0.2"}, want: half, bad: true},
		{name: "two lines", stated: []string{"0.1", "0.2"}, want: half, bad: true},
	} {
		for _, trailer := range []bool{false, true} {
			name := c.name + " in the head"
			if trailer {
				name = c.name + " in the trailer"
			}
			t.Run(name, func(t *testing.T) {
				up := backend(t, func(w http.ResponseWriter, r *http.Request) {
					if trailer {
						w.Header().Set("Trailer", "X-Cost")
						w.Write([]byte("body"))
					}
					w.Header()["X-Cost"] = c.stated
				})
				r := newRig(t, Settings{},
					Route{Path: "/bounded", Upstreams: []string{up}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"},
					Route{Path: "/unbounded", Upstreams: []string{up}, Cost: "header:X-Cost"})
				for path, want := range map[string]store.Money{"/bounded": c.want, "/unbounded": c.unbound} {
					reported := 0
					if c.bad || c.above && path == "/bounded" {
						reported = 1
					}
					text(t, r.do("GET", path, ""))
					o := r.log.next(t)
					if o.Cost != want {
						t.Errorf("%s: it costs %d, want %d", path, o.Cost, want)
					}
					if got := r.metric("perfgate_proxy_cost_errors_total", "route")[path]; got != float64(reported) {
						t.Errorf("%s: the metric counts %v, want %d", path, got, reported)
					}
					if got := r.with("level=ERROR", "route="+path, "request_id="+o.RequestID, "cost="); len(got) != reported {
						t.Errorf("%s: %d errors in the log, want %d: %v", path, len(got), reported, got)
					}
				}
			})
		}
	}
}

// The log shows a bad cost cut short and without a key in it.
func TestBadCostsAreShownWithCare(t *testing.T) {
	const key = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Cost", strings.Repeat("x", 30)+key+strings.Repeat("y", 3000))
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Cost: "header:X-Cost"})
	r.do("GET", "/", "")
	r.log.next(t)
	lines := r.with("level=ERROR", "header=X-Cost")
	if len(lines) != 1 || strings.Contains(lines[0], key[8:24]) || strings.Contains(lines[0], strings.Repeat("y", maxShownCost)) {
		t.Errorf("%v", lines)
	}
}

// An upstream whose costs are all wrong does not flood the log: it has one line a minute,
// and each cost counts in the metric.
func TestBadCostsDoNotFloodTheLog(t *testing.T) {
	bad := func() string {
		return backend(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Cost", "two") })
	}
	one, other := bad(), bad()
	r := newRig(t, Settings{},
		Route{Path: "/one", Upstreams: []string{one}, Cost: "header:X-Cost"},
		Route{Path: "/other", Upstreams: []string{other}, Cost: "header:X-Cost"})
	const calls = 20
	began := time.Now()
	for range calls {
		for _, path := range []string{"/one", "/other"} {
			text(t, r.do("GET", path, ""))
			r.log.next(t)
		}
	}
	most := 1 + int(time.Since(began)/time.Minute) // on a machine that is stuck
	for _, path := range []string{"/one", "/other"} {
		if got := r.with("level=ERROR", "route="+path, "cost=two", "left_out="); len(got) < 1 || len(got) > most {
			t.Errorf("%s: %d lines in the log, want %d: %v", path, len(got), most, got)
		}
		if got := r.metric("perfgate_proxy_cost_errors_total", "route")[path]; got != calls {
			t.Errorf("%s: the metric counts %v, want %d", path, got, calls)
		}
	}
}

// One fault in a minute has its turn, and says how many had none since the last.
func TestMinutely(t *testing.T) {
	var m minutely
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after   time.Duration
		leftOut int64
		ok      bool
	}{{0, 0, true}, {0, 0, false}, {time.Second, 0, false}, {58 * time.Second, 0, false}, {time.Second, 3, true}, {time.Second, 0, false}, {time.Hour, 1, true}, {time.Minute, 0, true}} {
		at = at.Add(c.after)
		if leftOut, ok := m.turn(at); leftOut != c.leftOut || ok != c.ok {
			t.Errorf("at %v: %d left out, %v; want %d, %v", at, leftOut, ok, c.leftOut, c.ok)
		}
	}
}
