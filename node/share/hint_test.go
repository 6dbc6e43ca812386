package share

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/limiter/pool"
)

func (s *station) known(n pool.Name, t pool.Terms) int64 {
	sh := s.pool.Shard(n)
	sh.Lock()
	defer sh.Unlock()
	left, _ := sh.Open(nil, n, t, s.conf.Now()).Known()
	return left
}

// What one node admits is in what the others show within a second, also where a bucket was
// never used, and long after the last word about it; a bucket that stands still costs no
// messages.
func TestOthersKnowWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		n, hourly := pool.Name{11}, minute(60)
		hourly.Pace.Weight *= 60 // 60 an hour
		for i, id := range []string{"a", "a", "b", "a", "b", "b"} {
			for range 3 {
				if !f.nodes[id].take(n, hourly) {
					t.Fatal("refused")
				}
			}
			time.Sleep(time.Second)
			for _, id := range f.ids {
				if got, want := f.nodes[id].known(n, hourly), int64(60-3*(i+1)); got < want-1 || got > want+1 {
					t.Errorf("after %d requests %s shows %d", 3*(i+1), id, got)
				}
			}
		}
		time.Sleep(time.Minute) // loans end
		calls := f.calls.Load()
		time.Sleep(3 * time.Minute)
		for _, id := range f.ids {
			if got := f.nodes[id].known(n, hourly); got < 45 || got > 47 {
				t.Errorf("four minutes later %s shows %d", id, got)
			}
		}
		if sent := f.calls.Load() - calls; sent > 20 {
			t.Errorf("%d messages in three minutes about a bucket that nobody uses", sent)
		}
	})
}

// The metrics after a node has spent what all have, and with the others cut off.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		a, limit := f.nodes["a"], minute(60)
		value := func(s *station, name string, labels ...string) float64 {
			r := prometheus.NewRegistry()
			r.MustRegister(s.Collectors()...)
			all, err := r.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range all {
				for _, m := range family.Metric {
					var got []string
					for _, l := range m.Label {
						got = append(got, l.GetValue())
					}
					if family.GetName() == "perfgate_limits_"+name && slices.Equal(got, labels) {
						return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
					}
				}
			}
			return 0
		}
		a.takeAll(pool.Name{12}, limit)
		for _, row := range []struct {
			name   string
			labels []string
			least  float64
			most   float64
		}{
			{"refusals_total", []string{spent}, 1, 1},
			{"wait_seconds", nil, 1, 20},
			{"messages_total", []string{"fetch", "taken"}, 2, 20},
			{"nodes_reachable", nil, 2, 2},
			{"oldest_answer_seconds", nil, 0, 3},
			{"buckets", nil, 1, 1},
			{"units_here", nil, 0, 0},
			{"parts_borrowed", nil, .3, .7},
			{"excess_units", nil, 0, 0},
		} {
			if got := value(a, row.name, row.labels...); got < row.least || got > row.most {
				t.Errorf("%s%v is %v, want %v to %v", row.name, row.labels, got, row.least, row.most)
			}
		}
		if lent := value(f.nodes["b"], "parts_lent") + value(f.nodes["c"], "parts_lent"); lent < .3 || lent > .7 {
			t.Errorf("the others have lent %v", lent)
		}
		a.cut.Store(true)
		a.takeAll(pool.Name{13}, limit) // until the others are found to be cut off
		a.takeAll(pool.Name{13}, limit)
		if value(a, "refusals_total", lonely) < 1 || value(a, "refusals_total", late)+value(a, "refusals_total", lonely) != 2 || value(a, "nodes_reachable") != 0 {
			t.Errorf("cut off: %v late, %v unreachable, %v nodes", value(a, "refusals_total", late), value(a, "refusals_total", lonely), value(a, "nodes_reachable"))
		}
	})
}
