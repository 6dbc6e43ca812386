package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// Three nodes make one cluster in any order of their starts. Each is started when
// the one before it waits.
func TestFormInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			c := nodetest.New(t, 3)
			for k, i := range order {
				c.Nodes[i].Start()
				if k < 2 {
					waiting(t, c, i, nodetest.Address(order[2], nodetest.Port))
				}
			}
			oneCluster(t, c, 3)
		})
	}
}

// All start at once, and one pair does not see each other: no node begins.
func TestFormHalfReachable(t *testing.T) {
	t.Parallel()
	c := nodetest.New(t, 3)
	c.Cut(0, 2)
	for _, n := range c.Nodes {
		n.Start()
	}
	waiting(t, c, 0, nodetest.Address(2, nodetest.Port))
	waiting(t, c, 2, nodetest.Address(0, nodetest.Port))
	c.Nodes[0].WaitLog("waiting to form or join the cluster")
	c.Nodes[0].WaitLog(nodetest.Address(2, nodetest.Port) + ": no answer")
	waiting(t, c, 1, "does not see the same nodes yet")
	for i := range c.Nodes {
		if s := status(c, i); s != nil {
			t.Fatalf("node %d has a cluster: %+v", i, s)
		}
	}
	c.Heal()
	oneCluster(t, c, 3)
}

// An operator's mistake is reported in words, and corrected by a restart.
func TestFormDisagreement(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wrong  func(s *nodetest.Setup) // of the third node
		on     int
		reason string
		others string
	}{
		"expect": {func(s *nodetest.Setup) { s.Expect = 2 }, 2, "expects 3 nodes and this one 2", "expects 2 nodes and this one 3"},
		"lists": {func(s *nodetest.Setup) { s.Join = []string{s.Join[1], nodetest.Alias(s.Join[1]), s.Join[2]} }, 2, "cluster.expect is 3, and cluster.join leads to 2 different nodes",
			"does not see the same nodes yet"},
		"secret": {func(s *nodetest.Setup) { s.Secret = strings.Repeat("another ", 5) }, 2, "the cluster secrets differ", "the cluster secrets differ"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := nodetest.New(t, 3)
			right := c.Nodes[2].Setup
			tt.wrong(&c.Nodes[2].Setup)
			for _, n := range c.Nodes {
				n.Start()
			}
			waiting(t, c, 2, tt.reason)
			waiting(t, c, 0, tt.others)
			c.Nodes[2].WaitLog(tt.reason)
			c.Stop(2)
			c.Nodes[2].Setup = right
			c.Nodes[2].Start()
			oneCluster(t, c, 3)
		})
	}
}

// A node with a list that leads to two clusters joins neither.
func TestFormTwoClusters(t *testing.T) {
	t.Parallel()
	c := nodetest.New(t, 3)
	for i := range 2 {
		c.Nodes[i].Setup.Join, c.Nodes[i].Setup.Expect = nil, 1
		c.Nodes[i].Start()
	}
	oneNode := func(i int) {
		c.Until(fmt.Sprintf("node %d is a cluster", i), func() error {
			if s := status(c, i); s == nil || len(s.Nodes) != 1 {
				return fmt.Errorf("status %+v", s)
			}
			return nil
		})
	}
	oneNode(0)
	oneNode(1)
	c.Nodes[2].Start()
	waiting(t, c, 2, "belong to different clusters")
	oneNode(0)
	oneNode(1)
}

// A lone node becomes a cluster of three, without a stop if it has a cluster
// listener and with one if it gets it then; its keys are good on all nodes.
func TestLoneNodeGrows(t *testing.T) {
	t.Parallel()
	for name, listens := range map[string]bool{"with a listener": true, "without a listener": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := nodetest.New(t, 1)
			first := c.Nodes[0]
			listen := first.Setup.Listen
			if !listens {
				first.Setup.Listen = ""
			}
			first.Start()
			c.WaitHealthy()
			_, key := c.Key(0, "old")
			before := status(c, 0).ClusterID
			if !listens {
				c.Stop(0)
				first.Setup.Listen = listen
				first.Start()
				c.WaitHealthy()
			}
			c.Add().Start()
			c.Add().Start()
			if id := oneCluster(t, c, 3); id != before {
				t.Errorf("the cluster is %s, the lone node was %s", id, before)
			}
			for _, n := range c.Nodes {
				if a := n.Get(key); a.Status != 200 {
					t.Errorf("%s answers the old key %v", n.Setup.Name, a)
				}
			}
			c.WaitHealthy()
			for _, n := range c.Nodes[1:] {
				if first.SaidOf("a node is not heard of any more", n.Setup.Name) > 0 {
					t.Errorf("%s has just joined and is reported gone", n.Setup.Name)
				}
			}
			c.Kill(c.Leader()) // all have a vote: the others go on
			c.Until("a write is taken without the first leader", func() error {
				_, err := c.API(c.Leader()).CreateKey(context.Background(), client.NewKey{Name: "new", Type: "live"})
				return err
			})
		})
	}
}

// The node that begins the cluster is interrupted at that moment, and comes back.
func TestFormInterrupted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		moment string // of the log
		kill   bool
	}{
		"killed when it begins":       {"raft", true},
		"killed when initialized":     {"initialized", true},
		"stopped when initialized":    {"initialized", false},
		"killed when others may join": {"cluster certificate made", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := nodetest.New(t, 3)
			for _, n := range c.Nodes {
				n.Setup.Level = "debug"
			}
			for _, n := range c.Nodes {
				n.Start()
			}
			first := -1
			c.Until("a node begins", func() error {
				for i, n := range c.Nodes {
					if n.Said(tt.moment) > 0 {
						first = i
						return nil
					}
				}
				return errors.New("no node does")
			})
			if tt.kill {
				c.Kill(first)
			} else {
				c.Stop(first)
			}
			c.Nodes[first].Start()
			oneCluster(t, c, 3)
		})
	}
}

// A founding node is ready only when the cluster has its voters: the first may then be
// lost at once, and nothing that was acknowledged is.
func TestFoundersAreReadyWithVotes(t *testing.T) {
	t.Parallel()
	c := nodetest.New(t, 3)
	for _, n := range c.Nodes {
		n.Start()
	}
	for i := range c.Nodes {
		c.WaitReady(i)
		if n := voters(c, i); n != 3 {
			t.Errorf("n%d is ready with %d voters", i+1, n)
		}
	}
	leader := c.Leader()
	id, _ := c.Key(leader, "a")
	c.Kill(leader)
	next := c.Leader()
	c.Until("the key is there", func() error {
		_, err := c.API(next).GetKey(context.Background(), id)
		return err
	})
	c.Key(next, "b")
	// A node that starts again is not founding any more.
	c.Restart(next)
	c.WaitReady(next)
}

// A restored node with cluster.expect = 3 is ready and not healthy, until the others
// have joined it.
func TestRestoredClusterIsIncomplete(t *testing.T) {
	t.Parallel()
	c := nodetest.New(t, 3)
	first := c.Nodes[0]
	setup := first.Setup
	first.Setup.Join, first.Setup.Expect = nil, 1
	first.Start()
	c.WaitHealthy()
	c.Stop(0)
	first.Setup = setup
	mark := filepath.Join(first.Dir, "FOUNDING")
	if err := os.WriteFile(mark, []byte("restored\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first.Start()
	c.WaitReady(0)
	c.Until("the status says that voters are missing", func() error {
		s := status(c, 0)
		if s == nil || s.Healthy || !slices.Contains(s.Reasons, "the cluster has 1 of 3 voters (cluster.expect)") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	c.Nodes[1].Start()
	c.Nodes[2].Start()
	c.WaitHealthy()
	c.Until("the mark is gone", func() error {
		_, err := os.Stat(mark)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("stat: %v", err)
	})
}
