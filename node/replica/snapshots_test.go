package replica_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store/logtest"
)

// TestSnapshotsUnderLoad: snapshots are taken while writes go on, the log is
// cut after them, and an ordinary restart uses neither.
func TestSnapshotsUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log logtest.Log
	c := replicatest.Config(t, vfs.Default, dir)
	c.Logger, c.Tune = log.Logger(), replicatest.Often
	r := replicatest.Start(t, c)
	replicatest.Begin(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	count := 0
	var mu sync.Mutex
	writeForever(ctx, r, 8, 0, func(int) {
		mu.Lock()
		defer mu.Unlock()
		if count++; count >= 1000 && log.Count(msgSnapshot) >= 3 {
			cancel()
		}
	})
	if log.Count("failed to take snapshot") > 0 {
		t.Errorf("snapshots failed:\n%s", log.String())
	}
	first, err := r.Log().FirstIndex()
	if err != nil || first <= 1 {
		t.Errorf("the log still begins at %d, %v", first, err)
	}
	replicatest.Shut(t, r)
	metas, err := r.Snapshots().List()
	if err != nil || len(metas) == 0 || len(metas) > 2 {
		t.Errorf("%d snapshots are kept, %v", len(metas), err)
	}

	var again logtest.Log
	c = replicatest.Config(t, vfs.Default, dir)
	c.Logger = again.Logger()
	r = replicatest.Start(t, c)
	if again.Count(msgRestore) != 0 {
		t.Error("an ordinary restart restored a snapshot")
	}
	replicatest.Shut(t, r)

	// Without the state, it comes back from snapshot and log.
	if err := os.RemoveAll(dir + "/" + datadir.StateDir); err != nil {
		t.Fatal(err)
	}
	var lost logtest.Log
	c = replicatest.Config(t, vfs.Default, dir)
	c.Logger = lost.Logger()
	r = replicatest.Start(t, c)
	defer replicatest.Shut(t, r)
	if n := lost.Count(msgRestore); n != 1 {
		t.Errorf("%d restores for a lost state, want 1", n)
	}
	if r.Store().ClusterID() != "c1" || !replicatest.Holds(t, r, 0) || !replicatest.Holds(t, r, 500) {
		t.Error("the state did not come back whole")
	}
}

// TestRestartBehindBarriers: a snapshot's Raft index counts entries that the
// state never sees. Comparing the state with that would restore at every start.
func TestRestartBehindBarriers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	for range 3 {
		if err := r.Raft().Barrier(time.Minute).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	index, applied, _, err := r.Snapshots().Newest()
	if err != nil || applied != r.Store().Applied() || index < applied+3 {
		t.Fatalf("the snapshot is at %d, its state at %d, %v; the state is at %d", index, applied, err, r.Store().Applied())
	}
	replicatest.Shut(t, r)
	var log logtest.Log
	c := replicatest.Config(t, vfs.Default, dir)
	c.Logger = log.Logger()
	r = replicatest.Start(t, c)
	defer replicatest.Shut(t, r)
	if n := log.Count(msgRestore); n > 0 {
		t.Errorf("%d restores at an ordinary start", n)
	}
}

// TestForeignLog: a directory whose parts do not belong together is refused, because
// indexes would be given out twice, or entries would be missing. The error names it.
func TestForeignLog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		without []string
		tune    func(*raft.Config)
		keys    int
		want    string
	}{
		{[]string{datadir.LogDir}, nil, 1, "its end is lost"},
		// With a state that is whole, a lone node goes on; see TestLoneWithoutSnapshots.
		{[]string{datadir.SnapshotDir, datadir.StateDir}, replicatest.Often, 300, "but the newest readable snapshot ends at 0: put back the whole directory"},
	} {
		dir := t.TempDir()
		c := replicatest.Config(t, vfs.Default, dir)
		c.Tune = tt.tune
		r := replicatest.Start(t, c)
		replicatest.Begin(t, r)
		for n := range tt.keys {
			replicatest.Must(t, r, replicatest.CreateKey(n))
		}
		if tt.tune != nil {
			replicatest.Eventually(t, "a log without the entries of a snapshot", func() bool {
				first, err := r.Log().FirstIndex()
				return err == nil && first > 1
			})
		}
		replicatest.Shut(t, r)
		for _, part := range tt.without {
			if err := os.RemoveAll(dir + "/" + part); err != nil {
				t.Fatal(err)
			}
		}
		_, err := replica.Open(t.Context(), replicatest.Config(t, vfs.Default, dir))
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("without %s: %v, want %q", tt.without, err, tt.want)
		}
	}
}
