package nodetest_test

import (
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/node/nodetest"
)

// Who still uses a key that is being rotated is known on every node, wherever it is used.
func TestOverlapIsSeenOnAllNodes(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	id, key := c.Key(c.Leader(), "rotated")
	c.Until("the rotation", func() error {
		_, err := c.API(c.Leader()).RotateKey(t.Context(), id, "until_unused")
		return err
	})
	user := c.Follower()
	if a := c.Nodes[user].Get(key); a.Status != 200 {
		t.Fatal(a)
	}
	for i := range c.Nodes {
		c.Until("the user of the old key", func() error {
			k, err := c.API(i).GetKey(t.Context(), id)
			if err != nil {
				return err
			}
			if k.State != "rotating" || k.Overlap == nil || !k.Overlap.UntilUnused || k.Overlap.EndsUnused == nil || len(k.Overlap.UsedBy) != 1 {
				return fmt.Errorf("node %d: %s %+v", i, k.State, k.Overlap)
			}
			return nil
		})
	}
	// Failed authentications and what is unusual are those of all nodes, too.
	for range 110 {
		c.Nodes[user].Get("pk_live_wrong")
	}
	for i := range c.Nodes {
		c.Until("the storm of one node", func() error {
			e, err := c.API(i).Insight().SecurityEvents(t.Context(), "", "", "")
			if err != nil {
				return err
			}
			if e.Failed.Requests != 110 || len(e.Anomalies) != 1 || e.Anomalies[0].Kind != "auth_failures" || len(e.Missing) > 0 {
				return fmt.Errorf("node %d: %+v", i, e)
			}
			return nil
		})
	}
	if _, err := c.API(user).Insight().Hygiene(t.Context()); err != nil {
		t.Error(err)
	}
}
