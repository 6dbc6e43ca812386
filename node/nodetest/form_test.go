package nodetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// status is GET /v1/cluster of node i; nil while it has none.
func status(c *nodetest.Cluster, i int) *client.Cluster {
	s, err := c.API(i).Cluster(context.Background())
	if err != nil {
		return nil
	}
	return s
}

// oneCluster waits until n nodes are in one cluster, and checks that there is no
// other. It returns the cluster's id.
func oneCluster(t *testing.T, c *nodetest.Cluster, n int) string {
	t.Helper()
	c.WaitReady()
	id := ""
	for i, node := range c.Nodes {
		if !node.Running() {
			continue
		}
		c.Until(fmt.Sprintf("node %d knows %d nodes", i, n), func() error {
			s := status(c, i)
			if s == nil || len(s.Nodes) != n {
				return fmt.Errorf("it says %+v", s)
			}
			if id != "" && s.ClusterID != id {
				t.Fatalf("node %d is in cluster %s, another one in %s", i, s.ClusterID, id)
			}
			id = s.ClusterID
			return nil
		})
	}
	return id
}

// waiting waits until a node that has no cluster yet says why, on the admin
// listener and nowhere else.
func waiting(t *testing.T, c *nodetest.Cluster, i int, why string) {
	t.Helper()
	n := c.Nodes[i]
	c.Until(fmt.Sprintf("%s says that it waits: %s", n.Setup.Name, why), func() error {
		code, body := fetch(n.Admin() + "/v1/cluster")
		if code != 503 || !strings.Contains(body, why) {
			return fmt.Errorf("it answers %d %s", code, body)
		}
		return nil
	})
	if code, body := fetch(n.Proxy() + "/x"); code != 503 || strings.Contains(body, "10.0.0.") {
		t.Errorf("the proxy listener answers %d %s", code, body)
	}
	if code, _ := fetch(n.Proxy() + "/livez"); code != 200 {
		t.Errorf("/livez answers %d while the node waits", code)
	}
}

func fetch(url string) (int, string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var e struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && e.Error.Message != "" {
		return resp.StatusCode, e.Error.Message
	}
	return resp.StatusCode, string(body)
}

// Three nodes make one cluster whatever the order of their starts, the next one
// being started when the one before waits for it.
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

// All at once, and every node sees every other one but one pair: nobody begins.
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

// What an operator may get wrong is said in words, and corrected by a restart.
func TestFormDisagreement(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wrong  func(s *nodetest.Setup) // of the third node
		on     int
		says   string
		others string
	}{
		"expect": {func(s *nodetest.Setup) { s.Expect = 2 }, 2, "expects 3 nodes and this one 2", "expects 2 nodes and this one 3"},
		"lists": {func(s *nodetest.Setup) { s.Join, s.Expect = s.Join[1:], 3 }, 2, "cluster.expect is 3, and cluster.join leads to 2 different nodes",
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
			waiting(t, c, 2, tt.says)
			waiting(t, c, 0, tt.others)
			c.Nodes[2].WaitLog(tt.says)
			c.Stop(2)
			c.Nodes[2].Setup = right
			c.Nodes[2].Start()
			oneCluster(t, c, 3)
		})
	}
}

// A node whose list leads to two clusters joins neither.
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
				return fmt.Errorf("it says %+v", s)
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

// A lone node becomes three, without a stop where it has a cluster listener and
// with one where it gets it; its keys are everybody's.
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
			if first.Said("a node is not heard of any more") > 0 {
				t.Error("a node that has just joined is told to be gone")
			}
			c.Kill(c.Leader()) // all have a vote: the others go on
			c.Until("a write is taken without the first leader", func() error {
				_, err := c.API(c.Leader()).CreateKey(context.Background(), client.NewKey{Name: "new", Type: "live"})
				return err
			})
		})
	}
}

// The node that begins the cluster is interrupted in that moment, and comes back.
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
			c.Until("one begins", func() error {
				for i, n := range c.Nodes {
					if n.Said(tt.moment) > 0 {
						first = i
						return nil
					}
				}
				return errors.New("none does")
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

func nodeID(t *testing.T, n *nodetest.Node) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Dir, "node-id"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}
