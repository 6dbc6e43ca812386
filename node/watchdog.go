package node

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/raftlog"
)

// storeLimit is how long a write to the Raft log may take. A leader whose disk
// hangs keeps sending heartbeats from memory, so nobody else is elected and
// every write waits; better that it dies. It is well inside a serving lease (5 s).
const storeLimit = 2 * time.Second

// watchedLog is the Raft log with a limit on how long a write may take. When it
// passes, fatal is called: the write may be stuck for ever, and fatal must end
// the process without touching the disk.
type watchedLog struct {
	*raftlog.Log
	limit time.Duration
	fatal func(error)
	tail  *tail
}

func (w watchedLog) watch(what string) (done func() bool) {
	return time.AfterFunc(w.limit, func() {
		w.fatal(fmt.Errorf("raft log: %s has been waiting for the disk for %v: the disk hangs", what, w.limit))
	}).Stop
}

func (w watchedLog) StoreLogs(l []*raft.Log) error {
	defer w.watch("a write")()
	w.tail.add(l)
	return w.Log.StoreLogs(l)
}

func (w watchedLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

func (w watchedLog) DeleteRange(first, last uint64) error {
	defer w.watch("a deletion")()
	return w.Log.DeleteRange(first, last)
}

func (w watchedLog) Set(key, value []byte) error {
	defer w.watch("a vote")()
	return w.Log.Set(key, value)
}

func (w watchedLog) SetUint64(key []byte, v uint64) error {
	defer w.watch("a term")()
	return w.Log.SetUint64(key, v)
}
