package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// How long a client waits. A use that takes longer says nothing; a write that
// takes longer may have happened.
const (
	useLimit   = 3 * time.Second
	readLimit  = 3 * time.Second
	writeLimit = 15 * time.Second // perfgate itself gives up after 10 s
)

// The bounds of one key's history. The checker tries the orders of operations
// that overlap on a key, and keeps its attempts for every operation. So clients
// spread over many keys: few of them at a time on one key, and a new key before
// the old one's history gets long. Looks at a key that is not changed any more cost
// the checker little, and show whether a right that was taken comes back.
const (
	looksAtOnce  = 3    // clients that use or read a key at a time; its two writers come on top
	writesUntil  = 20   // writes after which a key is not changed any more
	looksUntil   = 6000 // looks after which a key is not looked at until the end
	looksInDoubt = 1000 // the same, counted from a write of unknown outcome: it may take effect at any time
)

// secret is a key as its clients have it.
type secret struct {
	id, key string
	retired atomic.Bool  // no more writes
	writes  atomic.Int32 // in its history
	looks   atomic.Int32 // in its history
	most    atomic.Int32 // of looks
	looking atomic.Int32 // clients that look at it now
}

func newSecret(id, key string) *secret {
	k := &secret{id: id, key: key}
	k.most.Store(looksUntil)
	return k
}

// enter reports whether one more client may look at k; if so, it calls leave after
// the look.
func (k *secret) enter() bool {
	if k.looks.Load() >= k.most.Load() {
		return false
	}
	if k.looking.Add(1) > looksAtOnce {
		k.looking.Add(-1)
		return false
	}
	return true
}

func (k *secret) leave() { k.looking.Add(-1) }

// changed notes a write in k's history and its outcome.
func (k *secret) changed(kind, outcome string) {
	n := k.writes.Add(1)
	if outcome == outUnknown {
		// Every further unknown write of the same key doubles the orders to be tried.
		k.most.Store(min(k.most.Load(), k.looks.Load()+looksInDoubt))
	}
	if n >= writesUntil || outcome != outOK || kind == opRevoke || kind == opRotate {
		k.retired.Store(true)
	}
}

// workload is a number of clients that change keys and use them, all at once.
type workload struct {
	*target
	h     *history
	slots []*slot
	users int
	gap   time.Duration // the mean pause between two writes of one client
	seed  uint64

	stop   chan struct{}
	wg     sync.WaitGroup
	nextIP atomic.Uint32

	mu   sync.Mutex
	all  []*secret // every key there was; the newest last
	last *secret   // one with a state that has just changed
}

// slot is a key that is replaced when it has come to its end; two clients
// change it.
type slot struct {
	mu  sync.Mutex
	now *secret
}

func newWorkload(g *target, slots, users int, seed uint64) *workload {
	w := &workload{target: g, h: newHistory(len(g.nodes)), users: users, gap: 30 * time.Millisecond, seed: seed, stop: make(chan struct{})}
	for range slots {
		w.slots = append(w.slots, &slot{})
	}
	return w
}

func (w *workload) start() {
	clients := 0
	run := func(f func(c *worker)) {
		c := &worker{workload: w, id: clients, rng: rand.New(rand.NewPCG(w.seed, uint64(clients)+1))}
		clients++
		w.wg.Go(func() {
			for c.going() {
				f(c)
			}
		})
	}
	for _, s := range w.slots {
		run(func(c *worker) { c.drive(s, true) })
		run(func(c *worker) { c.drive(s, false) })
	}
	for range w.users {
		run((*worker).look)
	}
}

// end stops the clients and asks once more for every key on every node:
// acknowledged writes must be there when all is quiet.
func (w *workload) end() {
	close(w.stop)
	w.wg.Wait()
	c := &worker{workload: w, id: 2*len(w.slots) + w.users, final: true}
	for _, s := range w.all {
		for i := range w.nodes {
			c.read(i, s)
			c.use(i, s)
		}
	}
}

// worker is one client.
type worker struct {
	*workload
	id    int
	rng   *rand.Rand
	final bool
}

func (c *worker) going() bool {
	select {
	case <-c.stop:
		return false
	default:
		return true
	}
}

func (c *worker) node() int { return c.rng.IntN(len(c.nodes)) }

// drive makes one change of s's key. Only the creator makes new ones.
func (c *worker) drive(s *slot, creator bool) {
	if !harness.Pause(c.stop, time.Duration(c.rng.Int64N(int64(2*c.gap)))) {
		return
	}
	s.mu.Lock()
	k := s.now
	s.mu.Unlock()
	if k == nil || k.retired.Load() {
		if !creator {
			return
		}
		if k = c.create(); k != nil {
			s.mu.Lock()
			s.now = k
			s.mu.Unlock()
		}
		return
	}
	switch n := c.rng.IntN(100); {
	case n < 40:
		c.patch(k, opDisable)
	case n < 80:
		c.patch(k, opEnable)
	case n < 88:
		if next := c.rotate(k); next != nil {
			s.mu.Lock()
			s.now = next
			s.mu.Unlock()
		}
	case n < 92:
		c.write(opRevoke, k, "POST", "/revoke", map[string]any{"reason": "history"})
	default:
		c.read(c.node(), k)
	}
}

// look uses or reads some key on some node: mostly one that has just changed.
func (c *worker) look() {
	k := c.choose()
	if k == nil {
		harness.Pause(c.stop, time.Millisecond)
		return
	}
	defer k.leave()
	took := time.Now()
	if c.rng.IntN(12) == 0 {
		c.read(c.node(), k)
	} else {
		c.use(c.node(), k)
	}
	if time.Since(took) < time.Millisecond { // a refused connection must not become a busy loop
		harness.Pause(c.stop, time.Millisecond)
	}
}

// choose enters a key to look at; nil if it finds none that takes one more client.
func (c *worker) choose() *secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.all)
	if n == 0 {
		return nil
	}
	for range 8 {
		var k *secret
		switch r := c.rng.IntN(10); {
		case r < 4:
			k = c.last
		case r < 9: // the newest dozen
			k = c.all[n-1-c.rng.IntN(min(n, 12))]
		default:
			k = c.all[c.rng.IntN(n)]
		}
		if k.enter() {
			return k
		}
	}
	return nil
}

// touched says that k is worth a look.
func (c *worker) touched(k *secret) {
	c.mu.Lock()
	c.last = k
	c.mu.Unlock()
}

func (c *worker) born(k *secret) *secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, k)
	c.last = k
	return k
}

func (c *worker) op(kind string, node int) op {
	return op{Client: c.id, Kind: kind, Node: node, Call: c.h.now(), Final: c.final}
}

// use sends a request through node i's proxy.
func (c *worker) use(i int, k *secret) {
	o := c.op(opUse, i)
	o.Key = k.id
	// Failed credentials are counted by address: every request comes from another.
	ip := c.nextIP.Add(1)
	from := fmt.Sprintf("10.%d.%d.%d", 220+ip>>16&0x1f, ip>>8&0xff, ip&0xff)
	r, err := within(useLimit, "GET", c.nodes[i].proxy+"/history", as(k.key, header{"X-Forwarded-For": from}), nil)
	o.Return = c.h.now()
	c.seen(k, o, r, err, map[string]string{"invalid_key": stAbsent, "key_disabled": stDisabled, "key_revoked": stRevoked})
}

// read asks node i for the key.
func (c *worker) read(i int, k *secret) {
	o := c.op(opRead, i)
	o.Key = k.id
	r, err := c.manage(readLimit, i, "GET", "/v1/keys/"+k.id, nil)
	o.Return = c.h.now()
	c.seen(k, o, r, err, map[string]string{"not_found": stAbsent})
}

// seen records a use or a read of k, if the answer shows the key's state.
func (c *worker) seen(k *secret, o op, r *reply, err error, refusals map[string]string) {
	if err != nil {
		o.Answer = "no answer"
		c.h.drop(o)
		return
	}
	o.Answer = fmt.Sprint(r.StatusCode, " ", r.Code())
	o.Outcome = outOK
	switch {
	case r.StatusCode == http.StatusOK && o.Kind == opUse:
		o.State = stActive
	case r.StatusCode == http.StatusOK:
		o.State = r.Str("state")
	case refusals[r.Code()] != "":
		o.State = refusals[r.Code()]
	default:
		// Cut off, starting, without a leader, over a limit.
		if r.StatusCode != http.StatusServiceUnavailable && r.StatusCode != http.StatusTooManyRequests {
			o.Answer = r.String()
			c.h.odd(o)
		}
		c.h.drop(o)
		return
	}
	c.h.add(o)
	k.looks.Add(1)
}
