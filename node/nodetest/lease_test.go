package nodetest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// long is a lease by which a test can tell waiting for one from anything else.
const long = 4 * time.Second

// how a node cleared a wait; "" if the receipt does not tell of it.
func how(r *client.Revocation, name string) string {
	if r != nil {
		for _, n := range r.Nodes {
			if n.Name == name {
				return n.How
			}
		}
	}
	return ""
}

// revoke ends a key and tells how long that took.
func revoke(t *testing.T, c *nodetest.Cluster, on int, id string) (*client.Revocation, time.Duration) {
	t.Helper()
	began := time.Now()
	k, err := c.API(on).RevokeKey(t.Context(), id, "leaked")
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	return k.Revocation, took
}

// settled waits until the leader is older than a lease, so that a taking write
// need not wait for what an earlier one may have lent.
func settled(c *nodetest.Cluster, on int) {
	c.Until("a revocation waits for nobody", func() error {
		id, _ := c.Key(on, "probe")
		began := time.Now()
		if _, err := c.API(on).RevokeKey(context.Background(), id, ""); err != nil {
			return err
		}
		if took := time.Since(began); took > time.Second {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	})
}

// A node that is cut off stops serving when its lease is over; a revocation waits
// for exactly that, and nothing is admitted behind its answer.
func TestIsolatedNode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	leader := c.Leader()
	settled(c, leader)
	id, key := c.Key(leader, "a")
	cut := c.Follower()
	n := c.Nodes[cut]
	ask := keepAsking(n, key)
	ask.more(c, 200)
	c.Isolate(cut)
	r, took := revoke(t, c, leader, id)
	moment := ask.moment()
	if !r.Effective || how(r, n.Setup.Name) != "lease_ended" {
		t.Errorf("receipt %+v", r)
	}
	if took > nodetest.Lease*105/100+500*time.Millisecond+slack || took < 500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	ask.more(c, 50)
	ask.end()
	if ask.admitted.Load() > moment {
		t.Error("the cut node admitted the key behind the answer")
	}
	if a := n.Get(key); a.Code != "node_isolated" {
		t.Errorf("the cut node answers %v", a)
	}
	if code, _ := fetch(n.Proxy() + "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz of the cut node: %d", code)
	}
	if s := status(c, cut); s.Leader != "" || s.Healthy || len(s.Nodes) != 3 || len(s.Reasons) == 0 {
		t.Errorf("the cut node's status: %+v", s)
	}
	n.WaitLog("this node has no serving lease")
	c.Until("the leader says whom it misses", func() error {
		if s := status(c, c.Leader()); s.Healthy || !strings.Contains(strings.Join(s.Reasons, ";"), n.Setup.Name+": not heard of") {
			return fmt.Errorf("it says %+v", s)
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
	for name, in := range map[string]bool{"hears nobody": true, "is heard by nobody": false} {
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
			c.Until("the revocation is answered", func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				k, err := c.API(on).RevokeKey(ctx, id, "leaked")
				if err == nil && !k.Revocation.Effective {
					t.Errorf("receipt %+v", k.Revocation)
				}
				return err
			})
			for range 20 {
				if a := c.Nodes[cut].Get(key); a.Status == 200 {
					t.Fatal("the cut node admits the key behind the answer")
				}
			}
			c.Heal()
			c.WaitHealthy()
		})
	}
}

// A leader that is cut off loses its lease like anybody else, and the new one's
// first taking write waits for that.
func TestIsolatedLeader(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	old := c.Leader()
	id, key := c.Key(old, "a")
	ask := keepAsking(c.Nodes[old], key)
	ask.more(c, 200)
	c.Isolate(old)
	on := (old + 1) % 3
	var r *client.Revocation
	c.Until("the revocation is answered", func() error {
		k, err := c.API(on).RevokeKey(t.Context(), id, "leaked")
		if err == nil {
			r = k.Revocation
		}
		return err
	})
	moment := ask.moment()
	if !r.Effective {
		t.Errorf("receipt %+v", r)
	}
	ask.more(c, 50)
	ask.end()
	if ask.admitted.Load() > moment {
		t.Error("the old leader admitted the key behind the answer")
	}
	c.Heal()
	c.WaitHealthy()
}

// With when_isolated = "serve" a cut node goes on, the write says so with 202, and
// is effective when it is there again.
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
	api.HTTP = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			code = resp.StatusCode
		}
		return resp, err
	})}
	k, err := api.RevokeKey(t.Context(), id, "leaked")
	if err != nil {
		t.Fatal(err)
	}
	if r := k.Revocation; code != 202 || r.Effective || how(r, n.Setup.Name) != "unconfirmed" {
		t.Errorf("%d, receipt %+v", code, r)
	}
	// Requests need a chunk of the month as well, which a cut node does not get, so
	// it is asked for its verdict alone.
	free := false
	if v, err := c.API(cut).VerifyKey(t.Context(), client.VerifyRequest{Key: key, Consume: &free}); err != nil || !v.Valid {
		t.Errorf("the cut node says %+v, %v", v, err)
	}
	c.Heal()
	c.WaitHealthy()
	everywhere(t, c, "healed", key, "401 key_revoked")
	id, _ = c.Key(leader, "b")
	if r, _ := revoke(t, c, leader, id); !r.Effective || how(r, n.Setup.Name) != "applied" {
		t.Errorf("healed: receipt %+v", r)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A node that was killed, and is back before its lease would have ended, ends the
// wait for it: its former process is dead.
func TestRestartEndsTheWait(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3, nodetest.WithLease(9*time.Second))
	leader := c.Leader()
	settled(c, leader)
	id, _ := c.Key(leader, "a")
	dead := c.Follower()
	c.Kill(dead)
	type answer struct {
		r    *client.Revocation
		took time.Duration
	}
	done := make(chan answer, 1)
	go func() {
		began := time.Now()
		k, err := c.API(leader).RevokeKey(context.Background(), id, "leaked")
		if err != nil {
			t.Error(err)
			k = &client.Key{}
		}
		done <- answer{k.Revocation, time.Since(began)}
	}()
	c.Nodes[dead].Start()
	a := <-done
	// The lease would have ended after 9 s and more.
	if a.r == nil || !a.r.Effective || a.took > 6*time.Second {
		t.Errorf("it took %v: %+v", a.took, a.r)
	}
}

// A node that stops in good order gives its lease back: nobody waits for it.
func TestStopGivesTheLeaseBack(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3, nodetest.WithLease(long))
	leader := c.Leader()
	settled(c, leader)
	id, _ := c.Key(leader, "a")
	gone := c.Follower()
	c.Stop(gone)
	if r, took := revoke(t, c, leader, id); !r.Effective || took > 500*time.Millisecond+slack {
		t.Errorf("it took %v: %+v", took, r)
	}

	// So does a leader, and it hands its office over before that.
	c.Nodes[gone].Start()
	c.WaitHealthy()
	_, key := c.Key(leader, "b")
	began := time.Now()
	c.Stop(leader)
	next := c.Leader()
	if _, err := c.API(next).CreateKey(t.Context(), newKey("c")); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second+2*slack {
		t.Errorf("a write behind a leader's stop came after %v", took)
	}
	if a := c.Nodes[next].Get(key); a.Status != 200 {
		t.Errorf("the new leader answers %v", a)
	}
}

// A node with another lease than the leader's would serve beyond what writes wait
// for: it gets none, and the log says why.
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

// Leadership moves on while every node writes: no write is lost or refused, though
// of one the outcome may be unknown until it is repeated, and all nodes serve
// throughout.
func TestTransferUnderWrites(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	_, key := c.Key(0, "a")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var made, refused, unknown atomic.Int64
	var last atomic.Pointer[string]
	for i := range c.Nodes {
		api, n := c.API(i), c.Nodes[i]
		all.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				name := fmt.Sprintf("n%d-%d", i, k)
				_, err := api.CreateKey(context.Background(), newKey(name), client.IdempotencyKey(name))
				if code(err) == "unknown_outcome" {
					unknown.Add(1)
					_, err = api.CreateKey(context.Background(), newKey(name), client.IdempotencyKey(name))
				}
				if err != nil {
					refused.Add(1)
					last.Store(new(err.Error()))
				} else {
					made.Add(1)
				}
				if a := n.Get(key); a.Status != 200 {
					t.Errorf("%s answers %v", n.Setup.Name, a)
				}
			}
		})
	}
	defer all.Wait()
	defer cancel()
	for range 4 {
		leader := c.Leader()
		to := c.Nodes[(leader+1)%3].Setup.Name
		before := made.Load()
		if _, err := c.API((leader+2)%3).TransferLeadership(ctx, to); err != nil {
			t.Errorf("transfer to %s: %v", to, err)
		}
		c.Until(to+" leads and writes go on", func() error {
			if s := status(c, (leader+1)%3); s == nil || s.Leader != to || made.Load() < before+10 {
				return errors.New("not yet")
			}
			return nil
		})
	}
	cancel()
	all.Wait()
	t.Logf("%d writes, of %d the outcome was unknown", made.Load(), unknown.Load())
	if refused.Load() > 0 {
		t.Errorf("%d writes of %d were refused: %s", refused.Load(), made.Load(), *last.Load())
	}
	if _, err := c.API(0).TransferLeadership(t.Context(), "nobody"); code(err) != "not_found" {
		t.Errorf("to an unknown node: %v", err)
	}
}

// Behind an election a write that takes a right away waits for what the former
// leader may have lent; one that only gives does not.
func TestNewLeaderWaits(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3, nodetest.WithLease(long))
	old := c.Leader()
	settled(c, old)
	id, _ := c.Key(old, "a")
	c.Kill(old)
	next := c.Leader()
	began := time.Now()
	c.Key(next, "given")
	if took := time.Since(began); took > time.Second+slack {
		t.Errorf("a write that gives took %v", took)
	}
	r, took := revoke(t, c, next, id)
	if !r.Effective || took < long/3 || took > long*105/100+slack {
		t.Errorf("a write that takes took %v: %+v", took, r)
	}
	for _, n := range c.Nodes {
		if n.Running() && strings.Contains(n.Log.String(), `"level":"ERROR"`) {
			t.Errorf("%s logs an error because another node is gone", n.Setup.Name)
		}
	}
}

// A stream on a key that is revoked ends on every node within five seconds.
func TestStreamsOfARevokedKeyEnd(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	id, key := c.Key(0, "a")
	_, kept := c.Key(0, "b")
	open := func(n *nodetest.Node, key string) (ended chan time.Time, closeNow func()) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", n.Proxy()+"/stream", nil)
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("open a stream on %s: %v, %v", n.Setup.Name, resp, err)
		}
		ended = make(chan time.Time, 1)
		lines := bufio.NewReader(resp.Body)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := lines.ReadString('\n'); err != nil {
					ended <- time.Now()
					return
				}
			}
		}()
		return ended, func() { resp.Body.Close() }
	}
	var ends []chan time.Time
	for _, n := range c.Nodes {
		e, done := open(n, key)
		defer done()
		ends = append(ends, e)
	}
	other, done := open(c.Nodes[1], kept)
	defer done()
	revoke(t, c, 1, id)
	answered := time.Now()
	for i, e := range ends {
		select {
		case at := <-e:
			if at.Sub(answered) > 5*time.Second {
				t.Errorf("the stream on n%d ended %v behind the answer", i+1, at.Sub(answered))
			}
		case <-time.After(5*time.Second + slack):
			t.Errorf("the stream on n%d goes on", i+1)
		}
	}
	select {
	case <-other:
		t.Error("another key's stream was closed too")
	default:
	}
}

// What an operator is told: each node's role, state and lease, by any of them.
func TestStatus(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	leader := c.Leader()
	for i := range c.Nodes {
		s := status(c, i)
		if s.Leader != c.Nodes[leader].Setup.Name || s.Term == 0 || !s.Healthy || len(s.Reasons) != 0 || !strings.HasPrefix(s.ClusterID, "cl_") {
			t.Errorf("n%d says %+v", i+1, s)
		}
		for _, n := range s.Nodes {
			role := "voter"
			if n.Name == s.Leader {
				role = "leader"
			}
			if n.Role != role || n.State != "ready" || n.Version != "test" || n.AppliedIndex == 0 || n.LeaseMS == nil || *n.LeaseMS <= 0 || *n.LeaseMS > nodetest.Lease.Milliseconds() || n.LastContactMS > 1000 {
				t.Errorf("n%d says of %s: %+v", i+1, n.Name, n)
			}
		}
		var text strings.Builder
		if err := c.API(i).Metrics(t.Context(), &text); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(text.String()) {
			if name, ok := strings.CutPrefix(line, "# TYPE perfgate_cluster_"); ok {
				got = append(got, strings.Fields(name)[0])
			}
		}
		want := []string{
			"clock_skew_seconds", "leader", "lease_remaining_seconds", "lease_renewals_total", "level", "revocation_seconds",
			"revocations_unconfirmed_total", "term", "writes_waiting",
		}
		if i == leader {
			want = append(want, "node_lag_entries", "node_last_contact_seconds", "node_up")
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("n%d has the metrics %q, want %q", i+1, got, want)
		}
		if i == leader && strings.Count(text.String(), "perfgate_cluster_node_up{node=") != 3 {
			t.Errorf("the leader's metrics tell of other than 3 nodes:\n%s", text.String())
		}
	}

	// A node that is gone is unreachable, and what that means is said.
	gone := c.Follower()
	c.Kill(gone)
	c.Until("the leader misses it", func() error {
		s := status(c, leader)
		for _, n := range s.Nodes {
			if n.Name == c.Nodes[gone].Setup.Name && n.State == "unreachable" && n.LastContactMS > 0 &&
				strings.Contains(strings.Join(s.Reasons, ";"), "2 of 3 voters are there; one more failure stops writes") {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", s)
	})
	c.Nodes[leader].WaitLog("a node is not heard of any more")
}
