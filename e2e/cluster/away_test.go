package cluster

import (
	"fmt"
	"sync"
	"time"
)

// awayResult is what a revocation did to a node that was away.
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

// awayRevoke uses a key on node i all the time while i goes away, the key is
// revoked through another node, and i comes back.
func awayRevoke(c *cluster, i int, away, again func()) awayResult {
	c.t.Helper()
	id, key := c.create()
	other := (i + 1) % len(c.nodes)
	stop := make(chan struct{})
	var mu sync.Mutex
	var all []asked
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for n := 0; pause(stop, 4*time.Millisecond); n++ {
				from := fmt.Sprintf("10.%d.%d.%d", 210+worker, n>>8&0xff, n&0xff)
				a := asked{sent: time.Now()}
				r, err := within(2*time.Second, "GET", c.nodes[i].proxy+"/away", as(key).with("X-Forwarded-For", from), nil)
				if err == nil {
					a.answered, a.admitted, a.code = true, r.status == 200, r.code()
				}
				mu.Lock()
				all = append(all, a)
				mu.Unlock()
			}
		})
	}
	count := func(f func(a asked) bool) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, a := range all {
			if f(a) {
				n++
			}
		}
		return n
	}
	await(c.t, readyLimit, "the key to be used on the node that will go away", func() error {
		if n := count(func(a asked) bool { return a.admitted }); n < 50 {
			return fmt.Errorf("%d uses", n)
		}
		return nil
	})
	away()
	out := awayResult{}
	began := time.Now()
	await(c.t, readyLimit, "the revocation", func() error { // one answer may be no_leader or unknown_outcome when the leader is away
		r, err := c.manage(writeLimit, other, "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "away"})
		if err != nil {
			return err
		}
		if r.status != 200 || r.at("revocation", "effective") != true {
			return fmt.Errorf("%v", r)
		}
		out.answer = fmt.Sprint(r.json["revocation"])
		return nil
	})
	answered := time.Now()
	out.took = answered.Sub(began)
	pause(stop, time.Second) // still away
	again()
	c.awaitReady()
	refused := func(a asked) bool { return a.sent.After(answered) && a.code == "key_revoked" }
	await(c.t, readyLimit, "the node that was away to refuse the key as revoked", func() error {
		if n := count(refused); n < 20 {
			return fmt.Errorf("%d refusals", n)
		}
		return nil
	})
	close(stop)
	wg.Wait()
	last := time.Time{}
	for _, a := range all {
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
	return out
}
