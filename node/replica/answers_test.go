package replica_test

import (
	"testing"

	"github.com/perfgate/perfgate/node/replica"
)

// The tolerance counts voters in contact beyond the majority.
func TestFailureTolerance(t *testing.T) {
	for _, c := range []struct {
		name   string
		leader string
		nodes  string // V is a voter in contact, v one that is not, n a nonvoter
		want   int
	}{
		{"one", "n1", "V", 0},
		{"two", "n1", "VV", 0},
		{"three", "n1", "VVV", 1},
		{"three, one away", "n1", "VVv", 0},
		{"three and a nonvoter", "n1", "VVVn", 1},
		{"five", "n1", "VVVVV", 2},
		{"five, two away", "n1", "VVVvv", 0},
		{"four", "n1", "VVVV", 1},
		{"no majority", "n1", "Vvv", 0},
		{"no leader", "", "VVV", 0},
		{"nothing", "n1", "", 0},
	} {
		s := replica.Status{Leader: c.leader}
		for _, n := range c.nodes {
			node := replica.NodeStatus{Role: "voter", State: replica.StateReady}
			switch n {
			case 'v':
				node.State = replica.StateUnreachable
			case 'n':
				node.Role = "nonvoter"
			}
			s.Nodes = append(s.Nodes, node)
		}
		if got := s.FailureTolerance(); got != c.want {
			t.Errorf("%s: %d, must be %d", c.name, got, c.want)
		}
	}
}
