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
// after the answer that it is revoked, none that was made is lost, and in the end
// all nodes agree. PERFGATE_TORTURE=1 makes the test long, another number is that of
// the faults; PERFGATE_SEED repeats the faults of a run, though not their effects.
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
	f := &fleet{t: t, c: nodetest.Start(t, 3), chance: rand.New(rand.NewPCG(seed, 0)), answers: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for w := range 4 {
		f.clients.Go(func() { f.write(ctx, w) })
	}
	for range 3 {
		f.clients.Go(func() { f.use(ctx) })
	}
	for r := range rounds {
		f.breakSomething(ctx, r)
		if r%4 == 3 {
			f.c.WaitHealthy()
		}
	}
	f.c.WaitHealthy()
	f.goOn(int64(rounds))
	cancel()
	f.clients.Wait()
	t.Logf("%d keys made, %d revoked, %d of %d requests admitted, answers %v",
		f.made.Load(), f.revoked.Load(), f.admitted.Load(), f.requests.Load(), f.answers)
	f.compare()
}

// fleet is a cluster of three nodes with its clients and their keys.
type fleet struct {
	t       *testing.T
	c       *nodetest.Cluster
	chance  *rand.Rand // of the faults
	clients sync.WaitGroup

	// changing is held for writing while a node is started or ended.
	changing sync.RWMutex

	made, revoked, requests, admitted atomic.Int64

	mu      sync.Mutex
	keys    []*torn
	answers map[string]int // of the proxies
}

// torn is a key of the fleet.
type torn struct {
	id, key string
	revoked atomic.Bool // set when the answer says so
}

// on calls do for a node at random, and reports false if that does not run.
func (f *fleet) on(do func(n *nodetest.Node)) bool {
	f.changing.RLock()
	defer f.changing.RUnlock()
	n := f.c.Nodes[rand.IntN(3)]
	if !n.Running() {
		return false
	}
	do(n)
	return true
}

// api is a client of a node at random; it waits until it finds one that runs.
func (f *fleet) api() (api *client.Client) {
	for !f.on(func(n *nodetest.Node) { api = n.API() }) {
		pause(5 * time.Millisecond)
	}
	return api
}

func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// write makes keys and revokes every second of them.
func (f *fleet) write(ctx context.Context, w int) {
	for n := 0; ctx.Err() == nil; n++ {
		k, err := f.api().CreateKey(ctx, newKey(fmt.Sprintf("w%d-%d", w, n)))
		if err != nil || k.Secret == nil {
			continue
		}
		f.made.Add(1)
		m := &torn{id: k.ID, key: *k.Secret}
		f.mu.Lock()
		f.keys = append(f.keys, m)
		f.mu.Unlock()
		if n%2 == 0 {
			continue
		}
		if k, err := f.api().RevokeKey(ctx, m.id, "at random"); err == nil && k.Revocation.Effective {
			m.revoked.Store(true)
			f.revoked.Add(1)
		}
	}
}

// use sends requests with one of the newest keys.
func (f *fleet) use(ctx context.Context) {
	for ctx.Err() == nil {
		f.mu.Lock()
		var m *torn
		if len(f.keys) > 0 {
			m = f.keys[max(0, len(f.keys)-1-rand.IntN(12))]
		}
		f.mu.Unlock()
		var proxy string
		var node *nodetest.Node
		if m == nil || !f.on(func(n *nodetest.Node) { proxy, node = n.Proxy(), n }) {
			pause(5 * time.Millisecond)
			continue
		}
		revoked := m.revoked.Load() // before the request
		a := node.RequestAt(proxy, "GET", "/x", m.key)
		f.requests.Add(1)
		f.mu.Lock()
		f.answers[node.Setup.Name+" "+strconv.Itoa(a.Status)]++
		f.mu.Unlock()
		if a.Status == 200 {
			f.admitted.Add(1)
			if revoked {
				f.t.Errorf("%s admits key %s after the answer that it is revoked", node.Setup.Name, m.id)
			}
		}
	}
}

// breakSomething chooses a fault, and ends it after a while.
func (f *fleet) breakSomething(ctx context.Context, round int) {
	i := f.chance.IntN(3)
	spell := time.Duration(200+f.chance.IntN(2500)) * time.Millisecond
	kind := f.chance.IntN(6)
	f.t.Logf("round %d: fault %d on n%d for %v", round, kind, i+1, spell)
	n := f.c.Nodes[i]
	change := func(do func()) {
		f.changing.Lock()
		defer f.changing.Unlock()
		do()
	}
	switch kind {
	case 0:
		f.c.Isolate(i)
		pause(spell)
	case 1:
		for j := range f.c.Nodes {
			if j != i {
				f.c.CutOneWay(i, j)
			}
		}
		pause(spell)
	case 2:
		change(n.Kill)
		pause(spell)
		change(n.Start)
	case 3:
		change(func() { n.Stop(); n.Start() })
	case 4:
		f.c.Delay(time.Duration(f.chance.IntN(60)) * time.Millisecond)
		pause(spell)
	case 5:
		f.api().TransferLeadership(ctx, n.Setup.Name)
	}
	f.c.Heal()
	f.c.Delay(0)
}

// goOn waits until clients have made, revoked and used keys after the last fault,
// which takes as long as the leases of nodes that were away: writes wait for them.
func (f *fleet) goOn(n int64) {
	f.t.Helper()
	counts := []*atomic.Int64{&f.made, &f.revoked, &f.admitted}
	var goals []int64
	for _, c := range counts {
		goals = append(goals, c.Load()+n)
	}
	f.c.Until("clients go on after the faults", func() error {
		for i, c := range counts {
			if c.Load() < goals[i] {
				return fmt.Errorf("%d keys made, %d revoked, %d requests admitted; want %d, %d, %d",
					f.made.Load(), f.revoked.Load(), f.admitted.Load(), goals[0], goals[1], goals[2])
			}
		}
		return nil
	})
}

// compare checks that every node has every key, in the state that was answered.
func (f *fleet) compare() {
	f.t.Helper()
	for i := range f.c.Nodes {
		found := map[string]string{}
		for k, err := range f.c.API(i).Keys(f.t.Context(), client.KeyFilter{}) {
			if err != nil {
				f.t.Fatal(err)
			}
			found[k.ID] = k.State
		}
		for _, m := range f.keys {
			switch state := found[m.id]; {
			case state == "":
				f.t.Errorf("n%d has lost key %s", i+1, m.id)
			case m.revoked.Load() && state != "revoked":
				f.t.Errorf("on n%d the revoked key %s is %s", i+1, m.id, state)
			}
		}
	}
}
