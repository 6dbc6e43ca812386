package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/perfgate/perfgate/node/nodetest"
)

// Two nodes acknowledge changes that the third has not seen, are killed, and a bit flips in
// the newest part of the log of each. No acknowledged change is lost in silence: either the
// cluster comes back with all of them, or it does not serve and both nodes say that their
// data is damaged. PERFGATE_TORTURE=1 makes 50 trials, another number that many;
// PERFGATE_SEED repeats the choices of a run.
func TestTwoKillsAndFlips(t *testing.T) {
	t.Parallel()
	trials, chance := campaign(t, 1, 50)
	for i := range trials {
		if !t.Run(fmt.Sprint(i), func(t *testing.T) { twoKills(t, chance) }) {
			return
		}
	}
}

func twoKills(t *testing.T, chance *rand.Rand) {
	c := nodetest.Start(t, 3)
	lagging := c.Follower()
	var killed []int
	for i := range c.Nodes {
		if i != lagging {
			killed = append(killed, i)
		}
	}
	before, key := c.Key(0, "before")
	c.Isolate(lagging)
	var good []string
	for i := range 20 {
		_, k := c.Key(killed[i%2], fmt.Sprint(i))
		good = append(good, k)
	}
	revoke(c, killed[0], before)
	for _, i := range killed {
		c.Kill(i)
	}
	for _, i := range killed {
		path := newest(t, c.Nodes[i], "raftlog/*.log", 400)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		part := max(1, info.Size()/8) // the end of it
		at, bit := info.Size()-1-chance.Int64N(part), chance.IntN(8)
		if err := flipAt(path, at, 1<<bit); err != nil {
			t.Fatal(err)
		}
		t.Logf("n%d: bit %d of byte %d of %d in %s", i+1, bit, at, info.Size(), path)
	}
	c.Heal()
	for _, i := range killed {
		c.Nodes[i].Start()
	}
	const aside = "it joins its cluster as a new node"
	lost := false
	c.Until("the cluster is back, or both nodes say that their data is damaged", func() error {
		lost = !slices.ContainsFunc(killed, func(i int) bool { return c.Nodes[i].Said(aside) == 0 })
		if lost {
			return nil
		}
		var errs []error
		for _, n := range c.Nodes {
			if code, body := fetch(n.Proxy() + "/readyz"); code != 200 {
				errs = append(errs, fmt.Errorf("%s: %d %s", n.Setup.Name, code, body))
			}
		}
		return errors.Join(errs...)
	})
	if lost {
		// The third node is no majority, whatever it has.
		if k, err := c.API(lagging).CreateKey(context.Background(), newKey("after")); err == nil {
			t.Errorf("the node that lags accepts key %s", k.ID)
		}
		t.Log("both logs are damaged, and both nodes say so")
		return
	}
	c.WaitHealthy()
	for i, n := range c.Nodes {
		if a := n.Get(key); a.Status < 400 {
			t.Errorf("n%d admits a revoked key: %v", i+1, a)
		}
		for _, k := range good {
			c.Until("a key that was acknowledged is admitted", func() error {
				if a := n.Get(k); a.Status != 200 {
					return fmt.Errorf("n%d: %v", i+1, a)
				}
				return nil
			})
		}
	}
}
