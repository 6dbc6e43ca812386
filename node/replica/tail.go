package replica

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
//
// Nor may the log before a snapshot grow with the size of its entries: they
// are kept there by their number too, for followers that lag, and 10,240
// allowlists of 8 MiB are more than a disk has. A snapshot by size keeps half of
// the entries that led to it, so that the log has about 1.5 × tailBytes at most.
const (
	tailBytes   = 64 << 20
	tailAtStop  = 256 // entries
	tailChecked = time.Second
)

// tail counts the bytes of entries that were stored.
type tail struct {
	written atomic.Int64
	entries atomic.Int64
	taken   struct{ written, entries int64 } // when the last snapshot by size was
}

func (t *tail) add(entries []*raft.Log) {
	n := 0
	for _, e := range entries {
		n += len(e.Data)
	}
	t.written.Add(int64(n))
	t.entries.Add(int64(len(entries)))
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
		if n, e := t.written.Load(), t.entries.Load(); n-t.taken.written >= tailBytes {
			if r.snapshotKeeping(uint64(e-t.taken.entries) / 2) {
				t.taken.written, t.taken.entries = n, e
			}
		}
	}
}

// snapshotKeeping is [Replica.snapshot] that leaves at most n entries of the log
// before it.
func (r *Replica) snapshotKeeping(n uint64) bool {
	usual := r.engine.raft.ReloadableConfig()
	fewer := usual
	fewer.TrailingLogs = min(usual.TrailingLogs, n)
	err := r.engine.raft.ReloadConfig(fewer)
	taken := r.snapshot()
	if err := errors.Join(err, r.engine.raft.ReloadConfig(usual)); err != nil {
		r.cfg.Logger.Warn("cannot bound the bytes of the log", "error", err)
	}
	return taken
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
	if err == nil && r.Failed() == nil && r.engine.raft.AppliedIndex() > index+tailAtStop {
		r.snapshot()
	}
}
