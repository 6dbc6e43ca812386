package cluster

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// loadRate is the requests a second of the load under which things are broken.
const loadRate = 300

// loaded makes a few keys for a load.
func (c *cluster) loaded() (keys []string) {
	c.t.Helper()
	c.roomy()
	for range 8 {
		_, key := c.create()
		keys = append(keys, key)
	}
	return keys
}

// Restarting every node in turn costs no client a request.
func TestRollingRestart(t *testing.T) {
	processes(t)
	c := start(t, 3, options{})
	keys := c.loaded()
	b := newBalancer(c.nodes)
	defer b.close()
	harness.Await(t, readyLimit, "the balancer to see all nodes", func() error { return missing(b, 3) })
	l := startLoad(loadRate, keys, b.pick)
	defer func() { t.Log(l) }()
	for range amount(1, 3, 20) {
		for i := range c.procs {
			c.Stop(i)
			c.Restart(i)
			c.awaitReady(i)
			harness.Await(t, readyLimit, "the balancer to see all nodes again", func() error { return missing(b, 3) })
		}
	}
	l.end()
	if n := len(l.failed()); n != 0 {
		t.Errorf("%d requests failed", n)
	}
}

// A leader's crash costs no request on the other nodes, and writes go on soon.
func TestLeaderCrash(t *testing.T) {
	processes(t)
	c := start(t, 3, options{})
	keys := c.loaded()
	took, failed := crashLeaders(c, keys, amount(3, 20, 100))
	t.Logf("leader crash to first write, %d times: p50 %v, p99 %v, all %v", len(took), quantile(took, 0.5), quantile(took, 0.99), took)
	if len(failed) != 0 {
		t.Errorf("%d requests to the survivors failed: %v", len(failed), failed[:min(10, len(failed))])
	}
}

// crashLeaders kills the leader so many times, each time under load on the
// others, and measures how long it took until a write succeeded through them.
func crashLeaders(c *cluster, keys []string, times int) (took []time.Duration, failed []failure) {
	c.t.Helper()
	for range times {
		i := c.leader()
		var others []endpoint
		for j, n := range c.nodes {
			if j != i {
				others = append(others, n)
			}
		}
		survivors := target{nodes: others, operator: c.operator}
		l := startLoad(loadRate, keys, among(others...))
		harness.Pause(nil, 500*time.Millisecond)
		c.Kill(i)
		from := time.Now()
		turn := 0
		harness.Await(c.t, readyLimit, "a write to succeed without the old leader", func() error {
			turn++
			r, err := survivors.manage(3*time.Second, turn%len(others), "POST", "/v1/keys", map[string]any{"name": "after", "type": "live"})
			if err != nil {
				return err
			}
			if r.StatusCode != 201 {
				return fmt.Errorf("%v", r)
			}
			return nil
		})
		took = append(took, time.Since(from).Round(time.Millisecond))
		harness.Pause(nil, 500*time.Millisecond)
		l.end()
		failed = append(failed, l.failed()...)
		c.Restart(i)
		c.awaitReady()
	}
	return took, failed
}

// revokes makes n keys and revokes them one after the other, each through the
// next node.
func revokes(c *cluster, n int) []time.Duration {
	c.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i], _ = c.create()
	}
	var took []time.Duration
	for i, id := range ids {
		from := time.Now()
		r, err := c.manage(writeLimit, i%len(c.nodes), "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "measured"})
		if err != nil || r.StatusCode != 200 || r.At("revocation", "effective") != true {
			c.t.Fatalf("revoke %d: %v %v", i, r, err)
		}
		took = append(took, time.Since(from))
	}
	return took
}

// In a healthy cluster a revocation that is true everywhere takes little.
func TestRevokeLatency(t *testing.T) {
	processes(t)
	c := start(t, 3, options{})
	c.roomy()
	// Right after an election a revocation waits for the leases of the time before.
	id, _ := c.create()
	c.insist("POST", "/v1/keys/"+id+"/revoke", map[string]any{})
	took := revokes(c, amount(100, 300, 3000))
	t.Logf("%d revokes: p50 %v, p99 %v, max %v", len(took), quantile(took, 0.5), quantile(took, 0.99), slices.Max(took))
	if p := quantile(took, 0.99); p > time.Second {
		t.Errorf("p99 is %v", p)
	}
}

// A node that cannot be reached admits nothing any more when the revocation is
// answered, and the answer takes no longer than a lease.
func TestRevokeWithOneNodeAway(t *testing.T) {
	processes(t)
	ways := []struct {
		name        string
		cuts        bool
		away, again func(c *cluster, i int)
	}{
		{"paused", false, (*cluster).Pause, (*cluster).Resume},
		{"cut off", true, func(c *cluster, i int) { c.net.Isolate(i) }, func(c *cluster, i int) { c.net.Heal() }},
	}
	for _, way := range ways {
		for _, led := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, leader %v", way.name, led), func(t *testing.T) {
				if way.cuts && os.Geteuid() != 0 {
					t.Skip("needs root for namespaces")
				}
				c := start(t, 3, options{netns: way.cuts})
				c.roomy()
				i := c.follower()
				if led {
					i = c.leader()
				}
				r := awayRevoke(c, i, func() { way.away(c, i) }, func() { way.again(c, i) })
				t.Logf("took %v; the node that was away answered %d requests, the last one it admitted was sent %v before the revocation's answer; %s",
					r.took.Round(time.Millisecond), r.asked, r.margin.Round(time.Millisecond), r.answer)
				// With the leader away there is an election first, and the wait begins with it.
				limit := leaseLength + 500*time.Millisecond
				if led {
					limit *= 2
				}
				if r.took > limit {
					t.Errorf("it took %v, more than %v", r.took, limit)
				}
				if r.late > 0 {
					t.Errorf("%d requests were admitted by the node that was away, sent after the revocation was answered", r.late)
				}
			})
		}
	}
}
