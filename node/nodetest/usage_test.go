package nodetest_test

import (
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// Usage is summed over all nodes, whichever of them is asked, and a node that does not
// answer is named.
func TestUsageOverAllNodes(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	id, key := c.Key(c.Leader(), "counted")
	for i, n := range c.Nodes {
		for range i + 1 {
			if a := n.Get(key); a.Status != 200 {
				t.Fatalf("node %d: %s", i, a)
			}
		}
	}
	count := func(node int) (requests int64, missing []client.Missing) {
		t.Helper()
		var rows *client.UsageRows
		c.Until("an answer about usage", func() (err error) {
			rows, err = c.API(node).Insight().Usage(t.Context(), client.UsageQuery{Key: id, GroupBy: "method", Step: "minute"})
			return err
		})
		for _, r := range rows.Data {
			if r.Group == nil || *r.Group != "GET" {
				t.Errorf("%+v", r)
			}
			requests += r.Requests
		}
		return requests, rows.Missing
	}
	for i := range c.Nodes {
		if n, missing := count(i); n != 1+2+3 || len(missing) > 0 {
			t.Errorf("node %d counts %d, without %v", i, n, missing)
		}
	}
	// The last use is the latest of any node's, from every node, in each list too.
	if a := c.Nodes[c.Follower()].Get(key); a.Status != 200 {
		t.Fatal(a)
	}
	for i := range c.Nodes {
		c.Until("the last use", func() error {
			k, err := c.API(i).GetKey(t.Context(), id)
			if err != nil {
				return err
			}
			u, err := c.API(i).Insight().KeyUsage(t.Context(), id, "", "")
			if err != nil {
				return err
			}
			list, err := c.API(i).ListKeys(t.Context(), client.KeyFilter{Q: "counted", Sort: "-last_used_at"})
			if err != nil {
				return err
			}
			if k.LastUsedAt == nil || k.LastUsedIP == nil || u.LastUse == nil || u.Requests != 7 || !u.LastUse.At.Equal(*k.LastUsedAt) || len(list.Data) != 1 || list.Data[0].LastUsedAt == nil {
				return fmt.Errorf("node %d: %+v, %+v, %+v", i, k, u, list.Data)
			}
			return nil
		})
	}
	down := c.Follower()
	name := c.Nodes[down].Setup.Name
	c.Kill(down)
	c.WaitReady(c.Leader())
	c.Until("the missing node to be named", func() error {
		n, missing := count(c.Leader())
		if len(missing) != 1 || missing[0].Node != name || n >= 7 {
			return fmt.Errorf("%d requests, without %v", n, missing)
		}
		return nil
	})
	c.Restart(down)
	c.WaitReady(down)
	c.Until("the node's usage to be there again", func() error {
		if n, missing := count(down); len(missing) > 0 || n < 3 {
			return fmt.Errorf("%d requests, without %v", n, missing)
		}
		return nil
	})
}
