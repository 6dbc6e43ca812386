package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How long a client waits. A use that takes longer says nothing; a write that
// takes longer may have happened.
const (
	useLimit   = 3 * time.Second
	readLimit  = 3 * time.Second
	writeLimit = 15 * time.Second // perfgate itself gives up after 10 s
)

// secret is a key as its users have it.
type secret struct {
	id, key string
	retired atomic.Bool // no more writes
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
	last *secret   // one whose state has just changed
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

// end stops the clients and asks once more for every key on every node: what
// was acknowledged must be there when all is quiet.
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
	if !pause(c.stop, time.Duration(c.rng.Int64N(int64(2*c.gap)))) {
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
	c.mu.Lock()
	n := len(c.all)
	var k *secret
	if n > 0 {
		switch r := c.rng.IntN(10); {
		case r < 4:
			k = c.last
		case r < 9: // the newest dozen
			k = c.all[n-1-c.rng.IntN(min(n, 12))]
		default:
			k = c.all[c.rng.IntN(n)]
		}
	}
	c.mu.Unlock()
	if k == nil {
		pause(c.stop, 5*time.Millisecond)
		return
	}
	took := time.Now()
	if c.rng.IntN(12) == 0 {
		c.read(c.node(), k)
	} else {
		c.use(c.node(), k)
	}
	if time.Since(took) < time.Millisecond { // a refused connection must not become a busy loop
		pause(c.stop, time.Millisecond)
	}
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
	r, err := within(useLimit, "GET", c.nodes[i].proxy+"/history", as(k.key).with("X-Forwarded-For", from), nil)
	o.Return = c.h.now()
	c.seen(o, r, err, map[string]string{"invalid_key": stAbsent, "key_disabled": stDisabled, "key_revoked": stRevoked})
}

// read asks node i for the key.
func (c *worker) read(i int, k *secret) {
	o := c.op(opRead, i)
	o.Key = k.id
	r, err := c.manage(readLimit, i, "GET", "/v1/keys/"+k.id, nil)
	o.Return = c.h.now()
	c.seen(o, r, err, map[string]string{"not_found": stAbsent})
}

// seen records what a use or a read tells, if it tells anything.
func (c *worker) seen(o op, r *reply, err error, refusals map[string]string) {
	if err != nil {
		o.Answer = "no answer"
		c.h.drop(o)
		return
	}
	o.Answer = fmt.Sprint(r.status, " ", r.code())
	o.Outcome = outOK
	switch {
	case r.status == http.StatusOK && o.Kind == opUse:
		o.State = stActive
	case r.status == http.StatusOK:
		o.State = r.str("state")
	case refusals[r.code()] != "":
		o.State = refusals[r.code()]
	default:
		// Cut off, starting, without a leader, over a limit.
		if r.status != http.StatusServiceUnavailable && r.status != http.StatusTooManyRequests {
			o.Answer = r.String()
			c.h.odd(o)
		}
		c.h.drop(o)
		return
	}
	c.h.add(o)
}
