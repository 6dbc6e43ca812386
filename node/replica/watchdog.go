package replica

import (
	"cmp"
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
//
// No write waits for the disk of another node: the leader does without a follower, and a
// lone node has nobody who could take over. Such a node has patienceFactor times as long,
// since a disk that others keep busy may take some seconds.
const (
	storeLimit     = 2 * time.Second
	patienceFactor = 10
)

// needed are the directories without which the node cannot go on: nothing is committed
// without its log, and nothing is applied while the state is being written or copied
// into a snapshot. What hangs elsewhere holds up no request and no change.
var needed = []string{datadir.LogDir, datadir.StateDir, datadir.SnapshotDir}

// watchdog is told of operations that wait for the disk for too long. It touches no disk.
type watchdog struct{ r *Replica }

// hung is told of an operation on the file name. It ends no node that can go on without
// it.
func (w watchdog) hung(op, name string, waited time.Duration) (again bool) {
	rel, err := filepath.Rel(w.r.cfg.Dir, name)
	top, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	if err == nil && !slices.Contains(needed, top) {
		w.r.cfg.Logger.Error("the disk hangs; this node goes on without leading", "operation", op, "file", name, "waits", waited)
		return false
	}
	return w.stuck(fmt.Errorf("%s of %q has been waiting for the disk for %v: the disk hangs; check it, then start the node again", op, name, waited), waited)
}

// stuck ends the node because of an operation that has been waiting for so long, unless
// it is to be asked again: see storeLimit.
func (w watchdog) stuck(err error, waited time.Duration) (again bool) {
	if !w.holdsUp() && waited < patienceFactor*cmp.Or(w.r.cfg.StoreLimit, storeLimit) {
		w.r.cfg.Logger.Warn("the disk is slow or hangs", "reason", err)
		return true
	}
	w.r.cfg.Fatal(err)
	return false
}

// holdsUp reports whether other nodes' writes wait for this one. It takes no lock that is
// held during an operation of the disk.
func (w watchdog) holdsUp() bool {
	e := w.r.opened.Load()
	if e == nil { // the node starts
		return false
	}
	rf := e.running.Load()
	return rf != nil && rf.State() == raft.Leader && len(w.r.Voters()) > 1
}

// watchedLog is the Raft log with a limit on how long a write may take. When it
// passes, stuck is called, which may have to end the process: the write may be stuck for
// ever.
type watchedLog struct {
	*raftlog.Log
	limit time.Duration
	stuck func(err error, waited time.Duration) (again bool)
	tail  *tail
}

// watch calls stuck unless done is called within the time that the disk has for bytes.
func (w watchedLog) watch(what string, bytes int64) (done func()) {
	return disk.Limit(disk.Allow(w.limit, bytes), func(waited time.Duration) bool {
		return w.stuck(fmt.Errorf("raft log: %s has been waiting for the disk for %v: the disk hangs", what, waited), waited)
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
