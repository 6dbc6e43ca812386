package replica

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/raftlog"
)

// storeLimit is how long a write to the Raft log may take. A leader with a disk that
// hangs keeps sending heartbeats from memory, so no other node is elected and
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

// watch calls fatal unless done is called within the limit, counted in the time
// that this process ran: one that was stopped for a while, or whose machine was,
// has no disk to blame.
func (w watchedLog) watch(what string) (done func()) {
	var mu sync.Mutex
	var timer *time.Timer
	over, seen := false, 0
	tick := func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		if seen++; seen < watchParts {
			timer.Reset(w.limit / watchParts) // a stop of any length makes one of them late
			return
		}
		w.fatal(fmt.Errorf("raft log: %s has been waiting for the disk for %v: the disk hangs", what, w.limit))
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(w.limit/watchParts, tick)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		timer.Stop()
	}
}

// watchParts is into how many parts the limit is cut.
const watchParts = 10

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
