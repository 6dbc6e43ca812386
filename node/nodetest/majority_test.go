package nodetest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// voters are the nodes with a vote that node i lists.
func voters(c *nodetest.Cluster, i int) (n int) {
	if s := status(c, i); s != nil {
		for _, node := range s.Nodes {
			if node.Role != "nonvoter" {
				n++
			}
		}
	}
	return n
}

// A removal that would leave no majority in contact is refused and changes nothing;
// the dead node can be removed, and force removes any.
func TestRemoveKeepsAMajority(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	leader := c.Leader()
	dead := c.Follower()
	alive := c.Follower(dead)
	c.Kill(dead)
	for _, on := range []int{leader, alive} { // at once: the dead node's last report is fresh
		_, err := c.API(on).RemoveNode(t.Context(), c.Nodes[alive].Setup.Name)
		if code(err) != fault.WouldLoseQuorum || !strings.Contains(err.Error(), "1 of 2 voters") || !strings.Contains(err.Error(), c.Nodes[dead].Setup.Name) {
			t.Errorf("%s: removing the live node: %v", c.Nodes[on].Setup.Name, err)
		}
	}
	c.Key(leader, "a")
	if n := voters(c, leader); n != 3 {
		t.Errorf("%d voters after refused removals", n)
	}
	c.Until("the dead node is removed", func() error {
		_, err := c.API(leader).RemoveNode(t.Context(), c.Nodes[dead].Setup.Name)
		return err
	})
	c.Key(leader, "b")
	c.Kill(alive)
	// With force the majority is lost: the answer cannot be known, only not refused.
	if _, err := c.API(leader).RemoveNode(t.Context(), c.Nodes[alive].Setup.Name, client.Force()); code(err) == fault.WouldLoseQuorum {
		t.Errorf("a forced removal: %v", err)
	}
}

// Transfers to a node that is down or cut off are refused, and the cluster takes
// writes all the time. Forced, they end soon, and the leader leads on.
func TestTransferToADeadNode(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *nodetest.Cluster, i int){
		"killed":  func(c *nodetest.Cluster, i int) { c.Kill(i) },
		"cut off": func(c *nodetest.Cluster, i int) { c.Isolate(i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := nodetest.Start(t, 3)
			leader, dead := c.Leader(), c.Follower()
			end(c, dead)
			to := c.Nodes[dead].Setup.Name
			for i := range 3 {
				began := time.Now()
				_, err := c.API(leader).TransferLeadership(t.Context(), to)
				if code(err) != fault.WouldLoseQuorum || !strings.Contains(err.Error(), to) {
					t.Errorf("transfer %d: %v", i, err)
				}
				_, err = c.API(leader).TransferLeadership(t.Context(), to, client.Force())
				if code(err) != fault.Unavailable || !strings.Contains(err.Error(), "still leads") {
					t.Errorf("forced transfer %d: %v", i, err)
				}
				if took := time.Since(began); took > 3*time.Second+slack {
					t.Errorf("both took %v", took)
				}
				c.Key(leader, fmt.Sprintf("a%d", i))
			}
			if now := c.Leader(); now != leader {
				t.Errorf("%s leads now", c.Nodes[now].Setup.Name)
			}
			// Without a name, the other one is chosen.
			c.Until("the leadership moves to the node in contact", func() error {
				s, err := c.API(leader).TransferLeadership(t.Context(), "")
				if err == nil && (s.Leader == to || s.Leader == "") {
					err = fmt.Errorf("%q leads", s.Leader)
				}
				return err
			})
			c.Key(c.Leader(), "b")
		})
	}
}
