package nodetest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// While nodes are cut off, killed, stopped and made leaders at random, clients of
// every node make keys, use them and revoke them. No key is admitted by any node
// behind the answer that it is revoked, none that was made is lost, and in the
// end all nodes agree. PERFGATE_TORTURE=1 makes it long, another
// number is that of the faults; PERFGATE_SEED repeats
// the faults of a run, though not their effects.
func TestFaultsAtRandom(t *testing.T) {
	t.Parallel()
	rounds := 3
	if s := os.Getenv("PERFGATE_TORTURE"); s != "" {
		rounds = 120
		if n, _ := strconv.Atoi(s); n > 1 {
			rounds = n
		}
	}
	seed := rand.Uint64()
	if s := os.Getenv("PERFGATE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("PERFGATE_SEED=%d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))

	c := nodetest.Start(t, 3)
	var fleet sync.RWMutex // held for writing while a node is started or ended
	type made struct {
		id, key string
		revoked atomic.Bool
	}
	var mu sync.Mutex
	var keys []*made
	var writes, revocations, requests, admitted atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	on := func(f func(i int, n *nodetest.Node)) {
		fleet.RLock()
		defer fleet.RUnlock()
		i := rand.IntN(3)
		if n := c.Nodes[i]; n.Running() {
			f(i, n)
		}
	}
	api := func() (api *client.Client) {
		on(func(_ int, n *nodetest.Node) { api = n.API() })
		return api
	}
	pause := func(d time.Duration) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		<-timer.C
	}
	for w := range 4 { // they make and revoke
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("w%d-%d", w, n)
				a := api()
				if a == nil {
					pause(5 * time.Millisecond)
					continue
				}
				k, err := a.CreateKey(ctx, newKey(name))
				if err != nil || k.Secret == nil {
					continue
				}
				writes.Add(1)
				m := &made{id: k.ID, key: *k.Secret}
				mu.Lock()
				keys = append(keys, m)
				mu.Unlock()
				if n%2 == 0 {
					continue
				}
				if a = api(); a == nil {
					continue
				}
				if k, err := a.RevokeKey(ctx, m.id, "at random"); err == nil && k.Revocation.Effective {
					m.revoked.Store(true)
					revocations.Add(1)
				}
			}
		})
	}
	for range 3 { // they use
		all.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				var m *made
				if len(keys) > 0 {
					m = keys[max(0, len(keys)-1-rand.IntN(12))]
				}
				mu.Unlock()
				if m == nil {
					pause(5 * time.Millisecond)
					continue
				}
				var proxy, name string
				var node *nodetest.Node
				on(func(_ int, n *nodetest.Node) { proxy, name, node = n.Proxy(), n.Setup.Name, n })
				if node == nil {
					pause(5 * time.Millisecond)
					continue
				}
				revoked := m.revoked.Load() // before the request
				a := node.RequestAt(proxy, "GET", "/x", m.key)
				requests.Add(1)
				if a.Status == 200 {
					admitted.Add(1)
					if revoked {
						t.Errorf("%s admits the key %s behind the answer that it is revoked", name, m.id)
					}
				}
			}
		})
	}
	for r := range rounds {
		i := chance.IntN(3)
		n := c.Nodes[i]
		spell := time.Duration(200+chance.IntN(2500)) * time.Millisecond
		kind := chance.IntN(6)
		t.Logf("round %d: kind %d on n%d for %v", r, kind, i+1, spell)
		switch kind {
		case 0:
			c.Isolate(i)
			pause(spell)
		case 1:
			for j := range c.Nodes {
				if j != i {
					c.CutOneWay(i, j)
				}
			}
			pause(spell)
		case 2:
			fleet.Lock()
			n.Kill()
			fleet.Unlock()
			pause(spell)
			fleet.Lock()
			n.Start()
			fleet.Unlock()
		case 3:
			fleet.Lock()
			n.Stop()
			n.Start()
			fleet.Unlock()
		case 4:
			c.Delay(time.Duration(chance.IntN(60)) * time.Millisecond)
			pause(spell)
		case 5:
			if a := api(); a != nil {
				a.TransferLeadership(ctx, n.Setup.Name)
			}
		}
		c.Heal()
		c.Delay(0)
		if r%4 == 3 {
			c.WaitHealthy()
		}
	}
	c.WaitHealthy()
	pause(time.Second) // writes wait for the nodes that are away: a few rounds alone may see none
	cancel()
	all.Wait()
	t.Logf("%d keys made, %d revoked, %d of %d requests admitted", writes.Load(), revocations.Load(), admitted.Load(), requests.Load())
	if writes.Load() < int64(rounds) || admitted.Load() < int64(rounds) {
		t.Error("next to nothing was done")
	}
	for i := range c.Nodes {
		found := map[string]string{}
		for k, err := range c.API(i).Keys(t.Context(), client.KeyFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			found[k.ID] = k.State
		}
		for _, m := range keys {
			switch state := found[m.id]; {
			case state == "":
				t.Errorf("n%d has lost the key %s", i+1, m.id)
			case m.revoked.Load() && state != "revoked":
				t.Errorf("on n%d the revoked key %s is %s", i+1, m.id, state)
			}
		}
	}
}
