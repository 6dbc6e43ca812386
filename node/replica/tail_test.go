package replica_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// TestTailIsBoundedInBytes: few but large entries are not replayed for ever.
func TestTailIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	r := replicatest.At(t, vfs.NewMem(), "")
	replicatest.Begin(t, r)
	for n := range replica.TailBytes/(4<<20) + 1 {
		cmd := replicatest.CreateKey(n)
		cmd.Change.(*store.KeyCreate).Key.Name = strings.Repeat("x", 4<<20) // refused by apply, stored by Raft
		if _, err := r.Propose(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	replicatest.Eventually(t, "a snapshot", func() bool {
		_, _, ok, err := r.Snapshots().Newest()
		return ok && err == nil
	})
	replicatest.Eventually(t, "a log without the half of it", func() bool {
		first, err := r.Log().FirstIndex()
		return err == nil && first > replica.TailBytes/(4<<20)/2
	})
	replicatest.Eventually(t, "the usual number of entries to be kept", func() bool {
		return r.Raft().ReloadableConfig().TrailingLogs == replica.RaftConfig("", replica.LoneTimeouts, slog.New(slog.DiscardHandler)).TrailingLogs
	})
	replicatest.Shut(t, r)
}

func TestStopLeavesNoTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	for n := range replica.TailAtStop {
		replicatest.Must(t, r, replicatest.CreateKey(n))
	}
	applied := r.Store().Applied()
	replicatest.Shut(t, r)
	r = replicatest.At(t, vfs.Default, dir)
	defer replicatest.Shut(t, r)
	if _, a, ok, err := r.Snapshots().Newest(); !ok || a != applied || err != nil {
		t.Errorf("the newest snapshot has the state at %d (%v, %v), it was stopped at %d", a, ok, err, applied)
	}
}
