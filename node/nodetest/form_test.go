package nodetest_test

import (
	"testing"

	"github.com/perfgate/perfgate/node/nodetest"
)

func TestThree(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	t.Log("leader", c.Leader())
	_, key := c.Key(0, "a")
	for _, n := range c.Nodes {
		if a := n.Get(key); a.Status != 200 {
			t.Error(a)
		}
	}
}
