package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// awayResult is the effect of a revocation on a node that was away.
type awayResult struct {
	took   time.Duration // until the revocation was answered
	answer string
	asked  int           // answers of the node that was away
	late   int           // requests that it admitted though sent after the answer
	margin time.Duration // from the sending of the last admitted one to the answer
}

// asked is a request to the node that is away.
type asked struct {
	sent     time.Time
	admitted bool
	answered bool
	code     string
}

// askers are clients that use one key on one node all the time.
type askers struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu  sync.Mutex
	all []asked
}

// keepAsking begins to use key on node n.
func keepAsking(n endpoint, key string) *askers {
	s := &askers{stop: make(chan struct{})}
	for worker := range 8 {
		s.wg.Go(func() {
			for i := 0; harness.Pause(s.stop, 4*time.Millisecond); i++ {
				from := fmt.Sprintf("10.%d.%d.%d", 210+worker, i>>8&0xff, i&0xff)
				a := asked{sent: time.Now()}
				r, err := within(2*time.Second, "GET", n.proxy+"/away", as(key, header{"X-Forwarded-For": from}), nil)
				if err == nil {
					a.answered, a.admitted, a.code = true, r.StatusCode == 200, r.Code()
				}
				s.mu.Lock()
				s.all = append(s.all, a)
				s.mu.Unlock()
			}
		})
	}
	return s
}

// await waits until least answers are as match says.
func (s *askers) await(c *cluster, event string, least int, match func(a asked) bool) {
	c.t.Helper()
	harness.Await(c.t, readyLimit, event, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, a := range s.all {
			if match(a) {
				n++
			}
		}
		if n < least {
			return fmt.Errorf("%d of %d", n, least)
		}
		return nil
	})
}

// end stops the clients and compares their answers with the time at which the
// revocation was answered.
func (s *askers) end(answered time.Time, out *awayResult) {
	close(s.stop)
	s.wg.Wait()
	last := time.Time{}
	for _, a := range s.all {
		if a.answered {
			out.asked++
		}
		if a.admitted && a.sent.After(last) {
			last = a.sent
		}
		if a.admitted && a.sent.After(answered) {
			out.late++
		}
	}
	out.margin = answered.Sub(last)
}

// awayRevoke uses a key on node i all the time while i goes away, the key is
// revoked through another node, and i comes back.
func awayRevoke(c *cluster, i int, away, again func()) (out awayResult) {
	c.t.Helper()
	id, key := c.create()
	other := (i + 1) % len(c.nodes)
	s := keepAsking(c.nodes[i], key)
	s.await(c, "the key to be used on the node that will go away", 50, func(a asked) bool { return a.admitted })
	away()
	began := time.Now()
	harness.Await(c.t, readyLimit, "the revocation", func() error { // one answer may be no_leader or unknown_outcome when the leader is away
		r, err := c.manage(writeLimit, other, "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "away"})
		if err != nil {
			return err
		}
		if r.StatusCode != 200 || r.At("revocation", "effective") != true {
			return fmt.Errorf("%v", r)
		}
		out.answer = fmt.Sprint(r.JSON["revocation"])
		return nil
	})
	answered := time.Now()
	out.took = answered.Sub(began)
	harness.Pause(s.stop, time.Second) // still away
	again()
	c.awaitReady()
	s.await(c, "the node that was away to refuse the key as revoked", 20, func(a asked) bool {
		return a.sent.After(answered) && a.code == "key_revoked"
	})
	s.end(answered, &out)
	return out
}
