package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
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
}

func (t *tail) add(entries []*raft.Log) {
	n := 0
	for _, e := range entries {
		n += len(e.Data)
	}
	t.written.Add(int64(n))
	t.entries.Add(int64(len(entries)))
}

// snapshotter has Raft take the snapshots that it would not take by itself. watch is
// one goroutine; atStop follows when Raft is about to stop. takeKeeping may be called by
// several.
type snapshotter struct {
	engine *engine
	log    *slog.Logger
	failed func() error // [Replica.Failed]

	// When the last snapshot by size was, in the measures of tail. Only watch uses it.
	written, entries int64

	mu sync.Mutex // held while Raft's configuration is another one
}

// watch takes snapshots by size until ctx ends.
func (s *snapshotter) watch(ctx context.Context) {
	tick := time.NewTicker(tailChecked)
	defer tick.Stop()
	t := &s.engine.tail
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.engine.retake:
			s.take()
			continue
		case <-tick.C:
		}
		if n, e := t.written.Load(), t.entries.Load(); n-s.written >= tailBytes {
			if s.takeKeeping(uint64(e-s.entries) / 2) {
				s.written, s.entries = n, e
			}
		}
	}
}

// takeKeeping is take that leaves at most n entries of the log before the snapshot.
func (s *snapshotter) takeKeeping(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	usual := s.engine.raft.ReloadableConfig()
	fewer := usual
	fewer.TrailingLogs = min(usual.TrailingLogs, n)
	err := s.engine.raft.ReloadConfig(fewer)
	taken := s.take()
	if err := errors.Join(err, s.engine.raft.ReloadConfig(usual)); err != nil {
		s.log.Warn("cannot bound the bytes of the log", "error", err)
	}
	return taken
}

// take has Raft take a snapshot and reports whether there is a newer one.
func (s *snapshotter) take() bool {
	err := s.engine.raft.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && !errors.Is(err, raft.ErrRaftShutdown) {
		s.log.Warn("cannot take a snapshot; the next start takes longer", "error", err)
	}
	return err == nil
}

// atStop leaves little to replay for the next start.
func (s *snapshotter) atStop() {
	index, _, _, err := s.engine.snaps.Newest()
	if err == nil && s.failed() == nil && s.engine.raft.AppliedIndex() > index+tailAtStop {
		s.take()
	}
}
