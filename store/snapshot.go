package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/snapshot"
)

// CheckpointOptions are the options that a checkpoint of the state is read with.
func CheckpointOptions(fs vfs.FS, cache *pebble.Cache) *pebble.Options {
	o, _ := options(&Config{FS: fs, Cache: cache})
	// A damaged checkpoint is its reader's to report. Without a listener, Pebble would end
	// the process.
	o.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
	return o
}

// CheckpointApplied is the index of the newest command in a checkpoint.
func CheckpointApplied(db *pebble.DB) (uint64, error) {
	row, err := openDatabase(db).get(appliedRow)
	if err != nil {
		return 0, err
	}
	index, _, err := unpackApplied(row)
	return index, err
}

// Snapshot implements [raft.FSM]. Raft calls it between two batches, so it
// captures the state at exactly one applied index: it takes the checkpoint
// here, some milliseconds of hard links and one fsync, rather than beside the
// batches that follow. (A checkpoint ahead of its own index would make the
// node that restores it skip entries.)
//
// The fsync makes the state itself durable up to that index, too. Raft forgets
// the log up to a snapshot, and without it a power loss would leave a state
// that has to be replaced whole.
func (s *Store) Snapshot() (raft.FSMSnapshot, error) {
	dir := s.cfg.Dir + ".checkpoint"
	if err := s.cfg.FS.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove an unused checkpoint: %w", err)
	}
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return nil, fmt.Errorf("take a checkpoint of the state: %w", err)
	}
	return &capture{fs: s.cfg.FS, dir: dir, applied: s.Applied()}, nil
}

// capture is a [raft.FSMSnapshot]: a checkpoint that no snapshot has yet.
type capture struct {
	fs      vfs.FS
	dir     string
	applied uint64
}

// Persist hands the checkpoint over. Raft closes the sink.
func (c *capture) Persist(sink raft.SnapshotSink) error {
	s, ok := sink.(*snapshot.Sink)
	if !ok {
		return fmt.Errorf("BUG: a checkpoint cannot become a %T", sink)
	}
	return s.Adopt(c.dir, c.applied)
}

// Release drops the checkpoint, unless Persist handed it over. The next
// Snapshot removes the remains of a failure.
func (c *capture) Release() { _ = c.fs.RemoveAll(c.dir) }
