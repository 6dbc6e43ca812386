package nodetest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// The status tells an operator each node's role, state and lease, on any node.
func TestStatus(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	for i := range c.Nodes {
		c.Until(fmt.Sprintf("n%d reports three nodes that are well", i+1), func() error { return well(status(c, i)) })
	}
	leader := c.Leader()
	for i := range c.Nodes {
		checkMetrics(t, c, i, i == leader)
	}

	// A node that is gone is unreachable, and the status names the consequence.
	gone := c.Nodes[c.Follower(leader)]
	gone.Kill()
	c.Until("the leader misses it", func() error {
		s := status(c, leader)
		if s == nil || !strings.Contains(strings.Join(s.Reasons, ";"), "2 of 3 voters are there; one more failure stops writes") {
			return fmt.Errorf("status %+v", s)
		}
		for _, n := range s.Nodes {
			if n.Name == gone.Setup.Name && n.State == "unreachable" && n.LastContactMS > 0 {
				return nil
			}
		}
		return fmt.Errorf("status %+v", s)
	})
	c.Nodes[leader].WaitLog("a node is not heard of any more")
}

// well checks the status of three nodes that work.
func well(s *client.Cluster) error {
	if s == nil || s.Leader == "" || s.Term == 0 || !s.Healthy || len(s.Reasons) != 0 || !strings.HasPrefix(s.ClusterID, "cl_") || len(s.Nodes) != 3 {
		return fmt.Errorf("status %+v", s)
	}
	for _, n := range s.Nodes {
		role := "voter"
		if n.Name == s.Leader {
			role = "leader"
		}
		left := leaseLeft(s, n.Name)
		if n.Role != role || n.State != "ready" || n.Version != "test" || n.AppliedIndex == 0 || left <= 0 || left > nodetest.Lease || n.LastContactMS > 1000 {
			return fmt.Errorf("%+v, lease %v", n, left)
		}
	}
	return nil
}

// checkMetrics checks which metrics of the cluster node i has.
func checkMetrics(t *testing.T, c *nodetest.Cluster, i int, leads bool) {
	t.Helper()
	want := []string{
		"certificate_days", "clock_skew_seconds", "leader", "lease_remaining_seconds", "lease_renewals_total", "level", "revocation_seconds",
		"revocations_unconfirmed_total", "states_compared_total", "term", "writes_waiting",
	}
	if leads {
		want = append(want, "node_lag_entries", "node_last_contact_seconds", "node_up")
	}
	slices.Sort(want)
	var text strings.Builder
	if err := c.API(i).Metrics(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(text.String()) {
		if name, ok := strings.CutPrefix(line, "# TYPE perfgate_cluster_"); ok {
			got = append(got, strings.Fields(name)[0])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("n%d has the metrics %q, want %q", i+1, got, want)
	}
	if leads && strings.Count(text.String(), "perfgate_cluster_node_up{node=") != 3 {
		t.Errorf("the leader's metrics are not of 3 nodes:\n%s", text.String())
	}
}
