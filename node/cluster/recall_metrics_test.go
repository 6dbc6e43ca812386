package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/cluster"
	"github.com/perfgate/perfgate/store"
)

// figures are the values of a metric of m by its label result: the count of a counter,
// or the number of observations.
func figures(t *testing.T, m *member, name string) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(m.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if l.GetName() == "result" {
					out[l.GetValue()] = s.GetCounter().GetValue() + float64(s.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return out
}

// A recall has every node yield. The node that asks counts and times its call, and the
// leader counts its calls to the other nodes; each by how it ended.
func TestRecallsAreCounted(t *testing.T) {
	g := newGroup(t, 3)
	var yields [3]atomic.Int64
	var failing [3]atomic.Bool
	g.adjust = func(i int, c *cluster.Config) {
		c.Yield = func(context.Context, []store.GrantAsk) error {
			if yields[i].Add(1); failing[i].Load() {
				return errors.New("cannot give anything back")
			}
			return nil
		}
	}
	g.start()
	asks := []store.GrantAsk{{Account: store.DefaultAccount, Month: 24000}}
	i, m := g.follower()
	g.until("a recall under one leader", func() error {
		leader := g.leader()
		if i, m = g.follower(); m == leader {
			return errors.New("the leader has changed")
		}
		calls := figures(t, leader, "perfgate_cluster_yields_total")
		mine := figures(t, m, "perfgate_cluster_recall_seconds")
		before := [3]int64{yields[0].Load(), yields[1].Load(), yields[2].Load()}
		if err := m.Recall(t.Context(), asks); err != nil {
			return err
		}
		for n := range yields {
			if yields[n].Load() == before[n] {
				return fmt.Errorf("n%d was not asked", n+1)
			}
		}
		got := figures(t, leader, "perfgate_cluster_yields_total")
		if n := got["answered"] - calls["answered"]; n != 2 {
			return fmt.Errorf("the leader counts %v calls of two: %v", n, got)
		}
		if got := figures(t, m, "perfgate_cluster_recall_seconds"); got["answered"] != mine["answered"]+1 || got["failed"] != mine["failed"] {
			t.Errorf("one recall is counted so: %v", got)
		}
		return nil
	})
	// A node that gives nothing back does not stop the others.
	failing[i].Store(true)
	g.until("a recall that one node has no part in", func() error {
		leader := g.leader()
		if leader == m {
			return errors.New("the leader has changed")
		}
		calls := figures(t, leader, "perfgate_cluster_yields_total")
		if err := m.Recall(t.Context(), asks); err != nil {
			return err
		}
		got := figures(t, leader, "perfgate_cluster_yields_total")
		if got["failed"] != calls["failed"]+1 || got["answered"] != calls["answered"]+1 {
			return fmt.Errorf("the leader counts %v, after %v", got, calls)
		}
		return nil
	})
	// A recall that is given up is counted as failed.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	before := figures(t, m, "perfgate_cluster_recall_seconds")["failed"]
	if err := m.Recall(gone, asks); err == nil {
		t.Fatal("a recall without time")
	}
	if got := figures(t, m, "perfgate_cluster_recall_seconds"); got["failed"] != before+1 {
		t.Errorf("a recall that failed is counted so: %v", got)
	}
}
