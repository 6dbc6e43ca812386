package nodetest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/perfgate/perfgate/node/nodetest"
)

// A node that lost its disk comes back as another one in the place of the old
// one, which is gone from the cluster.
func TestLostDisk(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	_, key := c.Key(0, "a")
	lost := c.Follower()
	id, before := status(c, lost).ClusterID, nodeID(t, c.Nodes[lost])
	c.Wipe(lost)
	c.Nodes[lost].Start()
	c.WaitReady(lost)
	if after := nodeID(t, c.Nodes[lost]); after == before {
		t.Error("the node without a disk has the old id")
	}
	c.Until("the new node has a vote", func() error {
		s := status(c, lost)
		if s == nil || s.ClusterID != id || len(s.Nodes) != 3 {
			return fmt.Errorf("status %+v", s)
		}
		for _, n := range s.Nodes {
			if n.Name == c.Nodes[lost].Setup.Name && n.Role != "voter" {
				return errors.New("it has none")
			}
		}
		return nil
	})
	if a := c.Nodes[lost].Get(key); a.Status != 200 {
		t.Errorf("the new node answers %v", a)
	}
	// The vote of the old one does not count any more: two of three are a majority.
	c.Kill(c.Follower(lost))
	c.Until("a write is accepted by the two that are left", func() error {
		_, err := c.API(lost).CreateKey(t.Context(), newKey("b"))
		return err
	})
}

// While the others are down a node that lost its disk waits: it must not begin a
// cluster of its own, on which the others would then disagree.
func TestLostDiskAlone(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	_, key := c.Key(0, "a")
	id := status(c, 0).ClusterID
	lost := c.Leader()
	for i := range c.Nodes {
		if i != lost {
			c.Stop(i)
		}
	}
	c.Wipe(lost)
	c.Nodes[lost].Start()
	other := (lost + 1) % 3
	waiting(t, c, lost, nodetest.Address(other, nodetest.Port))
	c.Nodes[lost].WaitLog("waiting to form or join the cluster")
	c.Nodes[other].Start()
	// One of the three that voted is not enough either.
	waiting(t, c, lost, nodetest.Address((lost+2)%3, nodetest.Port))
	c.Nodes[(lost+2)%3].Start()
	if again := oneCluster(t, c, 3); again != id {
		t.Errorf("the cluster is %s, was %s", again, id)
	}
	c.WaitHealthy()
	if a := c.Nodes[lost].Get(key); a.Status != 200 {
		t.Errorf("the new node answers %v", a)
	}
}

// A node is found again at another address, and all three at others.
func TestChangedAddress(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	_, key := c.Key(0, "a")
	id := status(c, 0).ClusterID
	moved := c.Follower()
	c.Stop(moved)
	c.Nodes[moved].Move(7001)
	c.Nodes[moved].Start()
	c.WaitHealthy()

	var all []string
	for i := range c.Nodes {
		c.Stop(i)
		c.Nodes[i].Move(7002)
		all = append(all, c.Nodes[i].Setup.Listen)
	}
	for _, n := range c.Nodes {
		n.Setup.Join = all
		n.Start()
	}
	c.WaitHealthy()
	if again := oneCluster(t, c, 3); again != id {
		t.Errorf("the cluster is %s, was %s", again, id)
	}
	for _, n := range c.Nodes {
		if a := n.Get(key); a.Status != 200 {
			t.Errorf("%s answers %v", n.Setup.Name, a)
		}
	}
	if got := names(c, 0); !slices.Equal(got, []string{"n1", "n2", "n3"}) {
		t.Errorf("nodes %v", got)
	}
}
