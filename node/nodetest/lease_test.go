package nodetest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// A node that is cut off stops serving when its lease is over; a revocation waits
// for exactly that, and nothing is admitted after its answer.
func TestIsolatedNode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	leader := c.Leader()
	settled(c, leader)
	id, key := c.Key(leader, "a")
	cut := c.Follower(leader)
	n := c.Nodes[cut]
	ask := keepAsking(n, key)
	ask.more(c, 200)
	c.Isolate(cut)
	began := time.Now()
	left := leaseLeft(status(c, leader), n.Setup.Name) // at most the rest when it was cut off
	r := revoke(c, leader, id)
	took, moment := time.Since(began), ask.moment()
	if !r.Effective || how(r, n.Setup.Name) != "lease_ended" {
		t.Errorf("receipt %+v", r)
	}
	if took < left || took > nodetest.Lease*105/100+500*time.Millisecond+slack {
		t.Errorf("it took %v; the lease had %v left", took, left)
	}
	ask.more(c, 50)
	ask.end()
	if ask.admitted.Load() > moment {
		t.Error("the cut node admitted the key after the answer")
	}
	if a := n.Get(key); a.Code != "node_isolated" {
		t.Errorf("the cut node answers %v", a)
	}
	if code, _ := fetch(n.Proxy() + "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz of the cut node: %d", code)
	}
	c.Until("the cut node reports no leader", func() error {
		if s := status(c, cut); s == nil || s.Leader != "" || s.Healthy || len(s.Nodes) != 3 || len(s.Reasons) == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	n.WaitLog("this node has no serving lease")
	c.Until("the leader reports that it misses the node", func() error {
		s := status(c, c.Leader())
		if s == nil || s.Healthy || !strings.Contains(strings.Join(s.Reasons, ";"), n.Setup.Name+": no contact for") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	c.Heal()
	c.WaitHealthy()
	everywhere(t, c, "healed", key, "401 key_revoked")
}

// One way is enough to lose a lease, whichever it is.
func TestIsolatedOneWay(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]bool{"it hears no node": true, "no node hears it": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := nodetest.Start(t, 3)
			cut := c.Follower()
			id, key := c.Key(c.Leader(), "a")
			for i := range c.Nodes {
				switch {
				case i == cut:
				case in:
					c.CutOneWay(i, cut)
				default:
					c.CutOneWay(cut, i)
				}
			}
			on := c.Follower(cut) // the cut node may disturb the leader
			if r := revoke(c, on, id); !r.Effective {
				t.Errorf("receipt %+v", r)
			}
			for range 20 {
				if a := c.Nodes[cut].Get(key); a.Status == 200 {
					t.Fatal("the cut node admits the key after the answer")
				}
			}
			c.Heal()
			c.WaitHealthy()
		})
	}
}

// A leader that is cut off loses its lease like any other node, and the new
// leader's first write that takes a right away waits for that.
func TestIsolatedLeader(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	old := c.Leader()
	id, key := c.Key(old, "a")
	ask := keepAsking(c.Nodes[old], key)
	ask.more(c, 200)
	c.Isolate(old)
	on := (old + 1) % 3
	r := revoke(c, on, id)
	moment := ask.moment()
	if !r.Effective {
		t.Errorf("receipt %+v", r)
	}
	ask.more(c, 50)
	ask.end()
	if ask.admitted.Load() > moment {
		t.Error("the old leader admitted the key after the answer")
	}
	c.Heal()
	c.WaitHealthy()
}

// With when_isolated = "serve" a cut node goes on, the write is answered with 202,
// and it is effective when the node is back.
func TestServeWhenIsolated(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3, nodetest.Serving())
	leader := c.Leader()
	settled(c, leader)
	id, key := c.Key(leader, "a")
	cut := c.Follower()
	n := c.Nodes[cut]
	c.Isolate(cut)
	code := 0
	api := c.API(leader)
	api.HTTP = &http.Client{Timeout: nodetest.Timeout, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			code = resp.StatusCode
		}
		return resp, err
	})}
	var k *client.Key
	c.Until("the revocation is answered", func() (err error) {
		k, err = api.RevokeKey(t.Context(), id, "leaked")
		return err
	})
	if r := k.Revocation; code != 202 || r.Effective || how(r, n.Setup.Name) != "unconfirmed" {
		t.Errorf("%d, receipt %+v", code, r)
	}
	// Requests need a chunk of the month as well, which a cut node does not get, so
	// it is asked for its verdict alone.
	free := false
	if v, err := c.API(cut).VerifyKey(t.Context(), client.VerifyRequest{Key: key, Consume: &free}); err != nil || !v.Valid {
		t.Errorf("the verdict of the cut node is %+v, %v", v, err)
	}
	c.Heal()
	c.WaitHealthy()
	everywhere(t, c, "healed", key, "401 key_revoked")
	id, _ = c.Key(leader, "b")
	if r := revoke(c, leader, id); !r.Effective || how(r, n.Setup.Name) != "applied" {
		t.Errorf("healed: receipt %+v", r)
	}
}

// A node that was killed, and is back before its lease would have ended, ends the
// wait for it: its former process is dead.
func TestRestartEndsTheWait(t *testing.T) {
	t.Parallel()
	const lease = 9 * time.Second
	c := nodetest.Start(t, 3, nodetest.WithLease(lease))
	leader := c.Leader()
	settled(c, leader)
	id, _ := c.Key(leader, "a")
	dead := c.Follower(leader)
	began := time.Now()
	c.Kill(dead)
	done := make(chan *client.Revocation, 1)
	go func() {
		k, err := c.API(leader).RevokeKey(context.Background(), id, "leaked")
		if err != nil {
			t.Error(err)
			k = &client.Key{}
		}
		done <- k.Revocation
	}()
	c.Nodes[dead].Start()
	r := <-done
	// The lease was renewed at most a tenth of it before the kill, and would have ended
	// no sooner than nine tenths after it.
	if took := time.Since(began); r == nil || !r.Effective || took > lease*8/10 {
		t.Errorf("it took %v: %+v", took, r)
	}
}

// A node with another lease than the leader's would serve for longer than writes
// wait: it gets none, and the log gives the reason.
func TestLeasesDiffer(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	other := c.Follower()
	c.Stop(other)
	c.Nodes[other].Setup.Lease = long
	c.Nodes[other].Start()
	c.Nodes[other].WaitLog("cluster.lease is 4s here and 2s on the leader")
	if code, body := fetch(c.Nodes[other].Proxy() + "/readyz"); code != 503 {
		t.Errorf("/readyz %d %s", code, body)
	}
}
