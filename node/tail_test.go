package node

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestTailIsBoundedInBytes: few but large entries are not replayed for ever.
func TestTailIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	r := replicaAt(t, vfs.NewMem(), "")
	begin(t, r)
	for n := range tailBytes/(4<<20) + 1 {
		cmd := createKey(n)
		cmd.KeyCreate.Key.Name = strings.Repeat("x", 4<<20) // refused by apply, stored by Raft
		if _, err := r.Propose(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a snapshot", func() bool {
		_, _, ok, err := r.engine.snaps.Newest()
		return ok && err == nil
	})
	eventually(t, "a log without the half of it", func() bool {
		first, err := r.engine.log.FirstIndex()
		return err == nil && first > tailBytes/(4<<20)/2
	})
	eventually(t, "the usual number of entries to be kept", func() bool {
		return r.engine.raft.ReloadableConfig().TrailingLogs == raftConfig("", false, r.cfg.Logger).TrailingLogs
	})
	shut(t, r)
}

func TestStopLeavesNoTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicaAt(t, vfs.Default, dir)
	begin(t, r)
	for n := range tailAtStop {
		must(t, r, createKey(n))
	}
	applied := r.Store().Applied()
	shut(t, r)
	r = replicaAt(t, vfs.Default, dir)
	defer shut(t, r)
	if _, a, ok, err := r.engine.snaps.Newest(); !ok || a != applied || err != nil {
		t.Errorf("the newest snapshot has the state at %d (%v, %v), it was stopped at %d", a, ok, err, applied)
	}
}
