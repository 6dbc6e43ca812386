package nodetest_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/nodetest"
)

// altering has a node apply another byte than the others in entries that name "straight".
func altering(logs []*raft.Log) {
	for i, l := range logs {
		if bytes.Contains(l.Data, []byte("straight")) {
			other := *l
			other.Data = bytes.ReplaceAll(l.Data, []byte("straight"), []byte("strai9ht"))
			logs[i] = &other
		}
	}
}

// A node that has applied one byte that the others have not, follower or leader, ends when
// the leader next hears of it, says why, and comes back as a new node with their state. The
// others serve on.
func TestDivergedNode(t *testing.T) {
	t.Parallel()
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprint("leads ", leads), func(t *testing.T) {
			t.Parallel()
			c := nodetest.Start(t, 3)
			waitCompared(t, c)
			_, key := c.Key(0, "a")
			bad := c.Follower()
			c.Stop(bad)
			c.Nodes[bad].Setup.Applying = altering
			c.Nodes[bad].Start()
			c.WaitHealthy()
			if leads {
				c.Until("the node leads", func() error {
					if _, err := c.API(0).TransferLeadership(t.Context(), c.Nodes[bad].Setup.Name); err != nil && c.Leader() != bad {
						return err
					}
					if c.Leader() != bad {
						return fmt.Errorf("another one does")
					}
					return nil
				})
				waitCompared(t, c)
			}
			before := nodeID(t, c.Nodes[bad])
			c.Key((bad+1)%3, "straight")
			if code := c.Nodes[bad].WaitExit(); code != 1 {
				t.Errorf("it exits with %d", code)
			}
			if n := strings.Count(c.Nodes[bad].Log.String(), "has applied other changes"); n != 1 {
				t.Errorf("its log says %d times that its state differs:\n%s", n, c.Nodes[bad].Log)
			}
			for i, n := range c.Nodes {
				if err := n.Failed(); i != bad && err != nil {
					t.Errorf("%s: %v", n.Setup.Name, err)
				}
			}
			c.Nodes[bad].Setup.Applying = nil
			c.Nodes[bad].Start()
			c.WaitHealthy()
			if after := nodeID(t, c.Nodes[bad]); after == before {
				t.Error("it has its old id")
			}
			if a := c.Nodes[bad].Get(key); a.Status != 200 {
				t.Errorf("a key: %v", a)
			}
			waitCompared(t, c)
		})
	}
}

// Of two nodes that differ nobody knows which is right: the follower serves no more, and
// both keep what they have.
func TestDivergedPair(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 2, nodetest.Serving())
	bad := c.Follower()
	c.Stop(bad)
	c.Nodes[bad].Setup.Applying = altering
	c.Nodes[bad].Start()
	c.WaitHealthy()
	before := nodeID(t, c.Nodes[bad])
	c.Key(1-bad, "straight")
	c.Until("the follower serves no more", func() error {
		if err := c.Nodes[bad].Failed(); err != nil {
			t.Fatal(err)
		}
		if c.Nodes[bad].Said("no majority of the voters shows which of them is right") == 0 {
			return fmt.Errorf("it does not say why")
		}
		if h, body := fetch(c.Nodes[bad].Proxy() + "/readyz"); h != 503 {
			return fmt.Errorf("/readyz answers %d %s", h, body)
		}
		return nil
	})
	if after := nodeID(t, c.Nodes[bad]); after != before || c.Nodes[1-bad].Failed() != nil {
		t.Error("one of them gave up its state")
	}
}

// Restarts, crashes, snapshots that are installed, new nodes, removals and transfers of the
// leadership make no node differ.
func TestNoNodeDiffers(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	for i, n := range c.Nodes {
		n.Setup.Tune = func(r *raft.Config) {
			r.SnapshotInterval, r.SnapshotThreshold, r.TrailingLogs = 20*time.Millisecond, 10, 5
		}
		c.Restart(i)
	}
	c.WaitHealthy()
	n := 0
	write := func() {
		for range 15 {
			n++
			c.Key(c.Leader(), fmt.Sprint(n))
		}
	}
	write()
	bad := c.Follower()
	c.Kill(bad)
	write()
	c.Nodes[bad].Start() // it gets a snapshot
	c.WaitHealthy()
	write()
	c.Restart(c.Leader())
	c.WaitHealthy()
	write()
	c.Wipe(c.Follower())
	for _, n := range c.Nodes {
		if !n.Running() {
			n.Start()
		}
	}
	c.WaitHealthy()
	added := c.Add()
	added.Start()
	c.WaitHealthy()
	write()
	for i := range c.Nodes {
		c.Stop(i)
	}
	for _, n := range c.Nodes {
		n.Start()
	}
	c.WaitHealthy()
	write()
	waitCompared(t, c)
	for _, n := range c.Nodes {
		if strings.Contains(n.Log.String(), "applied other changes") {
			t.Errorf("%s differs", n.Setup.Name)
		}
	}
}

// metric is the value of a line in the metrics of node i, 0 if there is none.
func metric(c *nodetest.Cluster, i int, name string) (v float64) {
	_, body := fetch(c.Nodes[i].Admin() + "/metrics")
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, _ = strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return v
}

// waitCompared waits until the leader has found the states of all nodes equal.
func waitCompared(t *testing.T, c *nodetest.Cluster) {
	t.Helper()
	var first float64 = -1
	c.Until("the leader has compared the states of the nodes", func() error {
		got := metric(c, c.Leader(), `perfgate_cluster_states_compared_total{result="equal"}`)
		if first < 0 || got < first {
			first = got
		}
		if got < first+float64(2*len(c.Nodes)) {
			return fmt.Errorf("%v comparisons, %v before", got, first)
		}
		return nil
	})
}
