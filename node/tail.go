package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Raft takes a snapshot by the number of entries, which says little about how
// long a start takes: an import of 10,000 keys is one entry. So a snapshot is
// also taken when the entries since the last one have this many bytes, and at an
// orderly stop when there are more than a few.
const (
	tailBytes   = 64 << 20
	tailAtStop  = 256 // entries
	tailChecked = time.Second
)

// tail counts the bytes of entries that were stored.
type tail struct {
	written atomic.Int64
	taken   int64 // written when the last snapshot by size was taken
}

func (t *tail) add(entries []*raft.Log) {
	n := 0
	for _, e := range entries {
		n += len(e.Data)
	}
	t.written.Add(int64(n))
}

// watchTail takes snapshots by size until ctx ends.
func (r *Replica) watchTail(ctx context.Context) {
	tick := time.NewTicker(tailChecked)
	defer tick.Stop()
	t := &r.engine.tail
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n := t.written.Load(); n-t.taken >= tailBytes {
			if r.snapshot() {
				t.taken = n
			}
		}
	}
}

// snapshot has Raft take a snapshot and reports whether there is a newer one.
func (r *Replica) snapshot() bool {
	err := r.engine.raft.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && !errors.Is(err, raft.ErrRaftShutdown) {
		r.cfg.Logger.Warn("cannot take a snapshot; the next start takes longer", "error", err)
	}
	return err == nil
}

// snapshotTail leaves little to replay for the next start.
func (r *Replica) snapshotTail() {
	index, _, _, err := r.engine.snaps.Newest()
	if err == nil && r.fails() == nil && r.engine.raft.AppliedIndex() > index+tailAtStop {
		r.snapshot()
	}
}
