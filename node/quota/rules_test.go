package quota

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// ruled is a request of key_b, which is counted as key_a, under a rule of every window.
func ruled() *limiter.Ask {
	rule := func(name string, w limiter.Window, perKey bool) limiter.RuleAsk {
		return limiter.RuleAsk{Rule: &limiter.Rule{Name: name, Window: w, PerKey: perKey, Limit: 3}, Fresh: true}
	}
	return &limiter.Ask{Units: 1, Key: "key_a", Rules: []limiter.RuleAsk{
		rule("minute", limiter.EachMinute, true), rule("day", limiter.EachDay, false), rule("key-day", limiter.EachDay, true), rule("months", limiter.EachMonth, true),
	}}
}

// pass has a decided as admission does, with all of its wants.
func pass(t *testing.T, g *Grants, m *limiter.Meter, a *limiter.Ask) limiter.Decision {
	t.Helper()
	key := record(m, "key_b")
	for range 5 {
		a.Wall = time.Now().UnixNano()
		a.Now = a.Wall
		d := m.Take(a)
		wants := append(d.Wants[:d.NWants:d.NWants], d.Rules.Wants...)
		if !d.Pending {
			g.Ask("default", key, wants)
			return d
		}
		g.Await(t.Context(), "default", key, wants)
	}
	t.Fatal("still pending")
	panic("unreachable")
}

// The days and months of rules ride on the grants of months: each has a bucket of its own
// in the log, named by the key whose request it is and counted as that key's lineage.
func TestGrantsOfRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(3, time.Millisecond)
		g, stop := start(t, l)
		m := l.meter()
		for i := range 3 {
			if d := pass(t, g, m, ruled()); !d.Allowed {
				t.Fatalf("request %d: %+v", i, d)
			}
		}
		if d := pass(t, g, m, ruled()); d.Allowed || d.Rules.Denied == nil {
			t.Errorf("the fourth: %+v", d)
		}
		stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		now := time.Now()
		for _, want := range []store.GrantAsk{
			{Account: "default", Type: store.Live, Rule: "day", Day: store.Day(now)},
			{Account: "default", Type: store.Live, Key: "key_b", Rule: "key-day", Day: store.Day(now)},
			{Account: "default", Type: store.Live, Key: "key_b", Rule: "months", Month: store.Month(now)},
		} {
			if n := l.granted[want]; n != 3 {
				t.Errorf("%d units were granted of %+v", n, want)
			}
		}
		if len(l.granted) != 3 {
			t.Errorf("granted: %v", l.granted)
		}
	})
}

// What a node holds of a rule and does not need goes back at another's recall, and at a
// clean stop.
func TestRulesGiveBack(t *testing.T) {
	for name, give := range map[string]func(*testing.T, *Grants){
		"recall": func(t *testing.T, g *Grants) {
			if err := g.Yield(t.Context(), []store.GrantAsk{{Account: "default", Type: store.Live, Key: "key_a", Rule: "key-day", Day: store.Day(time.Now())}}); err != nil {
				t.Error(err)
			}
		},
		"stop": func(t *testing.T, g *Grants) { g.Close(t.Context()) },
		"prune": func(t *testing.T, g *Grants) {
			g.Prune(time.Now().Add(time.Hour).UnixNano(), limiter.Forever)
			g.flush(t.Context())
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newMonths(1000, 0)
			g := NewGrants(Config{Node: "n1", Ledger: l, Propose: l.propose, Now: now, Untaken: untaken, Logger: slog.New(slog.DiscardHandler)})
			if name == "recall" {
				var end func()
				g, end = start(t, l)
				defer end()
			}
			m, day := l.meter(), store.Day(time.Now())
			a := ruled()
			a.Now, a.Wall = now(), now()
			m.Take(a)
			of := limiter.RuleOf("key-day", "key_a")
			m.Seed(of, limiter.RuleDay, day, 0)
			m.Credit(of, limiter.RuleDay, day, 40, 40)
			l.mu.Lock()
			bucket := store.GrantAsk{Account: "default", Type: store.Live, Key: "key_a", Rule: "key-day", Day: day}
			l.granted[bucket] = 40
			l.mu.Unlock()
			give(t, g)
			l.mu.Lock()
			defer l.mu.Unlock()
			if n := l.granted[bucket]; n != 0 {
				t.Errorf("%s: %d units are still granted", name, n)
			}
		})
	}
}
