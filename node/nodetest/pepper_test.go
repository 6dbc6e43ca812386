package nodetest_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// loadEvery is the time between two requests with one key to one node.
const loadEvery = 20 * time.Millisecond

// TestPepperRotation rotates the pepper while all nodes get requests, and kills the leader
// right after. No valid key is refused, a revoked one stays refused, the keys in use move, and
// the one that is not used keeps the rotation open until it is.
func TestPepperRotation(t *testing.T) {
	c := nodetest.Start(t, 3)
	var used []string
	for i := range 3 {
		_, key := c.Key(i, fmt.Sprint("used ", i))
		used = append(used, key)
	}
	_, unused := c.Key(0, "not used")
	id, revoked := c.Key(0, "revoked")
	if _, err := c.API(0).RevokeKey(t.Context(), id, "leaked"); err != nil {
		t.Fatal(err)
	}
	leader := c.Leader()
	stop := loadOn(t, c, leader, used, revoked)
	if _, err := c.API(leader).Vault().RotatePepper(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Kill(leader)
	other := (leader + 1) % 3
	c.Until("only the key that was not used is left", func() error {
		k, err := c.API(other).Vault().Read(t.Context())
		if err != nil {
			return err
		}
		if n := k.Pepper.KeysRemaining; k.Pepper.Generation != 1 || n == nil || *n != 1 {
			return fmt.Errorf("%+v", k.Pepper)
		}
		return nil
	})
	stop()
	c.Restart(leader)
	c.WaitHealthy()
	if _, err := c.API(other).Vault().FinishPepper(t.Context()); fault.From(err).Code != fault.Conflict {
		t.Errorf("the end of the rotation while a key is left: %v", err)
	}
	c.Until("the last key has moved", func() error {
		if a := c.Nodes[leader].Get(unused); a.Status != 200 {
			return fmt.Errorf("it is answered %v", a)
		}
		_, err := c.API(other).Vault().FinishPepper(t.Context())
		return err
	})
	for i, n := range c.Nodes {
		c.Until(fmt.Sprintf("node %d has applied the end", i), func() error {
			k, err := n.API().Vault().Read(t.Context())
			if err == nil && k.Pepper.RetiredGeneration != nil {
				err = errors.New("there is a retired pepper")
			}
			return err
		})
		for j, key := range append(used[:3:3], unused) {
			if a := n.Get(key); a.Status != 200 {
				t.Errorf("node %d, key %d: %v", i, j, a)
			}
		}
		if a := n.Get(revoked); a.Code != "key_revoked" && a.Code != "too_many_failures" {
			t.Errorf("node %d: the revoked key is answered %v", i, a)
		}
	}
}

// loadOn sends requests to all nodes but one, until stop is called: with keys that are valid, and
// with one that is revoked.
func loadOn(t *testing.T, c *nodetest.Cluster, not int, keys []string, revoked string) (stop func()) {
	var clients sync.WaitGroup
	done := make(chan struct{})
	for i, n := range c.Nodes {
		if i == not {
			continue
		}
		for j, key := range append(keys[:len(keys):len(keys)], revoked) {
			clients.Go(func() {
				tick := time.NewTicker(loadEvery)
				defer tick.Stop()
				for {
					a := n.Get(key)
					// Without a leader, a node may not serve for a while.
					switch lost := a.Status == 401 || a.Status == 403; {
					case key == revoked && (a.Status == 200 || lost && a.Code != "key_revoked"):
						t.Errorf("node %d: the revoked key is answered %v", i, a)
					case key != revoked && lost:
						t.Errorf("node %d: key %d is answered %v", i, j, a)
					}
					select {
					case <-done:
						return
					case <-tick.C:
					}
				}
			})
		}
	}
	return sync.OnceFunc(func() { close(done); clients.Wait() })
}
