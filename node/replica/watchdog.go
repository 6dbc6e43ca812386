package replica

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/raftlog"
)

// storeLimit is how long the disk may take for an operation, and a write to the Raft
// log, besides the time that their bytes take ([disk.Allow]). A leader with a disk that
// hangs keeps sending heartbeats from memory, so no other node is elected and
// every write waits; better that it dies. It is well inside a serving lease (5 s).
const storeLimit = 2 * time.Second

// needed are the directories without which the node cannot go on: nothing is committed
// without its log, and nothing is applied while the state is being written or copied
// into a snapshot. What hangs elsewhere holds up no request and no change.
var needed = []string{datadir.LogDir, datadir.StateDir, datadir.SnapshotDir}

// hung is told of an operation of the disk that does not return. It ends the node where
// that cannot go on, without touching the disk.
func (r *Replica) hung(op, name string, d time.Duration) {
	rel, err := filepath.Rel(r.cfg.Dir, name)
	top, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	if err == nil && !slices.Contains(needed, top) {
		r.cfg.Logger.Error("the disk hangs; this node goes on without leading", "operation", op, "file", name, "waits", d)
		return
	}
	r.cfg.Fatal(fmt.Errorf("%s of %q has been waiting for the disk for %v: the disk hangs; check it, then start the node again", op, name, d))
}

// watchedLog is the Raft log with a limit on how long a write may take. When it
// passes, fatal is called: the write may be stuck for ever, and fatal must end
// the process without touching the disk.
type watchedLog struct {
	*raftlog.Log
	limit time.Duration
	fatal func(error)
	tail  *tail
}

// watch calls fatal unless done is called within the time that the disk has for bytes.
func (w watchedLog) watch(what string, bytes int64) (done func()) {
	d := disk.Allow(w.limit, bytes)
	return disk.Limit(d, func() {
		w.fatal(fmt.Errorf("raft log: %s has been waiting for the disk for %v: the disk hangs", what, d))
	})
}

func (w watchedLog) StoreLogs(l []*raft.Log) error {
	bytes := 0
	for _, entry := range l {
		bytes += len(entry.Data)
	}
	defer w.watch("a write", int64(bytes))()
	w.tail.add(l)
	return w.Log.StoreLogs(l)
}

func (w watchedLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

func (w watchedLog) DeleteRange(first, last uint64) error {
	defer w.watch("a deletion", 0)()
	return w.Log.DeleteRange(first, last)
}

func (w watchedLog) Set(key, value []byte) error {
	defer w.watch("a vote", 0)()
	return w.Log.Set(key, value)
}

func (w watchedLog) SetUint64(key []byte, v uint64) error {
	defer w.watch("a term", 0)()
	return w.Log.SetUint64(key, v)
}
