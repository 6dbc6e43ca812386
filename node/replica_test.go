package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
)

// configured is the configuration of a replica under test.
func configured(tb testing.TB, fs vfs.FS, dir string) ReplicaConfig {
	cache := pebble.NewCache(pebbleCache)
	tb.Cleanup(cache.Unref)
	return ReplicaConfig{
		Dir: dir, FS: fs, Name: "n1", Version: "test", Cache: cache, CacheBytes: 16 << 20,
		Logger: slog.New(slog.DiscardHandler),
		Fatal:  func(err error) { tb.Errorf("fatal: %v", err) },
	}
}

// started opens a replica and waits until it is ready.
func started(tb testing.TB, c ReplicaConfig) *Replica {
	tb.Helper()
	r, err := OpenReplica(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		tb.Fatal(err)
	}
	return r
}

func replicaAt(tb testing.TB, fs vfs.FS, dir string) *Replica {
	tb.Helper()
	return started(tb, configured(tb, fs, dir))
}

// often makes Raft take snapshots all the time.
func often(c *raft.Config) {
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 20*time.Millisecond, 100, 150
}

// replica opens a replica on the real disk, with a cluster begun, and shuts it
// down at the end.
func replica(tb testing.TB) *Replica {
	tb.Helper()
	r := replicaAt(tb, vfs.Default, tb.TempDir())
	tb.Cleanup(func() { shut(tb, r) })
	begin(tb, r)
	return r
}

func begin(tb testing.TB, r *Replica) {
	tb.Helper()
	must(tb, r, &store.Command{
		At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n1"},
		Init: &store.Init{ClusterID: "c1", Pepper: store.Hash{1}, OperatorToken: store.Hash{2}, DefaultTier: "free"},
	})
}

func shut(tb testing.TB, r *Replica) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		tb.Errorf("shut down: %v", err)
	}
}

func must(tb testing.TB, r *Replica, cmd *store.Command) store.Result {
	tb.Helper()
	receipt, err := r.Propose(tb.Context(), cmd)
	if err != nil {
		tb.Fatal(err)
	}
	if receipt.Refusal != nil {
		tb.Fatalf("refused: %+v", receipt.Refusal)
	}
	return receipt.Result
}

// createKey is the command that creates the key with number n.
func createKey(n int) *store.Command {
	return &store.Command{
		At: time.Now(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorOperator, ID: "op"},
		KeyCreate: &store.KeyCreate{Key: store.Key{
			ID: keyID(n), Account: store.DefaultAccount, Name: "Production Server", Type: store.Live,
			Hash: sha256.Sum256([]byte(keyID(n))), Scopes: []string{"read", "write"}, Hint: "pk_live_0123…STUV",
		}},
	}
}

func keyID(n int) store.KeyID { return store.KeyID(fmt.Sprintf("key_%012d", n)) }

func holds(tb testing.TB, r *Replica, n int) bool {
	tb.Helper()
	k, err := r.Store().Key(keyID(n))
	if err != nil {
		tb.Fatal(err)
	}
	return k != nil
}

func TestReplicaKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicaAt(t, vfs.Default, dir)
	begin(t, r)
	first := r.Identity()
	receipt, err := r.Propose(t.Context(), createKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if v := receipt.Revocation; v.Index != receipt.Index || v.Index == 0 || !v.Effective || len(v.Nodes) != 1 || v.Nodes[0].Name != "n1" || v.Nodes[0].How != "applied" {
		t.Errorf("the receipt says %+v for index %d", v, receipt.Index)
	}
	if err := r.Linearize(t.Context()); err != nil {
		t.Error(err)
	}
	if c := r.Cluster(t.Context()); c.Leader != "n1" || !c.Healthy || c.ClusterID != "c1" || c.Term == 0 || len(c.Nodes) != 1 || c.Nodes[0].AppliedIndex != r.Store().Applied() {
		t.Errorf("cluster: %+v", c)
	}
	shut(t, r)
	if _, err := r.Propose(t.Context(), createKey(2)); err == nil {
		t.Error("a write was accepted after the shutdown")
	}

	r = replicaAt(t, vfs.Default, dir)
	defer shut(t, r)
	if !holds(t, r, 1) || holds(t, r, 2) {
		t.Error("after a restart the keys are not those that were acknowledged")
	}
	if again := r.Identity(); again.ID != first.ID || again.Boot != first.Boot+1 {
		t.Errorf("identity was %+v, is %+v after a restart", first, again)
	}
}

func TestManyProposalsAtOnce(t *testing.T) {
	t.Parallel()
	r := replica(t)
	const writers, each = 32, 20
	var wg sync.WaitGroup
	var failed atomic.Int64
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := r.Propose(t.Context(), createKey(w*each+i)); err != nil {
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
		if !holds(t, r, n) {
			t.Fatalf("key %d is missing", n)
		}
	}
	if len(r.slots) != 0 {
		t.Errorf("%d slots are still taken", len(r.slots))
	}
}
