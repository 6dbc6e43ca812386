package replica_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
)

func TestReplicaKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	first := r.Identity()
	receipt, err := r.Propose(t.Context(), replicatest.CreateKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if v := receipt.Revocation; v.Index != receipt.Index || v.Index == 0 || !v.Effective || len(v.Nodes) != 1 || v.Nodes[0].Name != "n1" || v.Nodes[0].How != "applied" {
		t.Errorf("the receipt says %+v for index %d", v, receipt.Index)
	}
	if err := r.Linearize(t.Context()); err != nil {
		t.Error(err)
	}
	if c := r.Coordinator().Status(t.Context()); c.Leader != "n1" || !c.Healthy || c.ClusterID != "c1" || c.Term == 0 || len(c.Nodes) != 1 || c.Nodes[0].AppliedIndex != r.Store().Applied() {
		t.Errorf("cluster: %+v", c)
	}
	replicatest.Shut(t, r)
	if _, err := r.Propose(t.Context(), replicatest.CreateKey(2)); err == nil {
		t.Error("a write was accepted after the shutdown")
	}

	r = replicatest.At(t, vfs.Default, dir)
	defer replicatest.Shut(t, r)
	if !replicatest.Holds(t, r, 1) || replicatest.Holds(t, r, 2) {
		t.Error("after a restart the keys are not those that were acknowledged")
	}
	if again := r.Identity(); again.ID != first.ID || again.Boot != first.Boot+1 {
		t.Errorf("identity was %+v, is %+v after a restart", first, again)
	}
}

// parting is a coordinator that takes its time to say farewell.
type parting struct {
	replica.Coordinator
	said chan struct{} // gets one for each farewell
	end  chan struct{}
}

func (p parting) Farewell() {
	p.said <- struct{}{}
	<-p.end
}

// A shutdown that is not waited for goes on, and happens once. A replica that is abandoned
// says no farewell. What was acknowledged is there afterwards in any case.
func TestShutdown(t *testing.T) {
	t.Parallel()
	c := replicatest.Config(t, vfs.Default, t.TempDir())
	p := parting{said: make(chan struct{}, 10), end: make(chan struct{})}
	c.Coordinate = func(r *replica.Replica) replica.Coordinator {
		p.Coordinator = replica.Lone(r)
		return p
	}
	r := replicatest.Start(t, c)
	replicatest.Begin(t, r)
	replicatest.Must(t, r, replicatest.CreateKey(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) || err.Error() != "close the replica: context canceled" {
		t.Errorf("a shutdown that nobody waits for: %v", err)
	}
	<-r.Stopped()
	close(p.end)
	replicatest.Shut(t, r)
	replicatest.Shut(t, r)
	if len(p.said) != 1 {
		t.Errorf("%d farewells", len(p.said))
	}
	r = replicatest.Start(t, c)
	replicatest.Must(t, r, replicatest.CreateKey(2))
	if r.Abandon(); !r.Abandoned() {
		t.Error("it is not abandoned")
	}
	replicatest.Shut(t, r)
	if len(p.said) != 1 {
		t.Error("an abandoned replica says farewell")
	}
	c.Coordinate = nil
	r = replicatest.Start(t, c)
	defer replicatest.Shut(t, r)
	if !replicatest.Holds(t, r, 1) || !replicatest.Holds(t, r, 2) || r.Abandoned() {
		t.Error("a key is lost")
	}
}

func TestManyProposalsAtOnce(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	const writers, each = 32, 20
	var wg sync.WaitGroup
	var failed atomic.Int64
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := r.Propose(t.Context(), replicatest.CreateKey(w*each+i)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		t.Fatalf("%d proposals failed", failed.Load())
	}
	for n := range writers * each {
		if !replicatest.Holds(t, r, n) {
			t.Fatalf("key %d is missing", n)
		}
	}
	if len(r.Slots()) != 0 {
		t.Errorf("%d slots are still taken", len(r.Slots()))
	}
}
