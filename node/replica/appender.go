package replica

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// appender hands entries to Raft, whose log they end up in, unless a hold keeps them
// out. Any goroutine may use it once Raft runs.
type appender struct {
	engine   *engine
	held     atomic.Bool  // no new entries: the leadership moves; set by hold with entering locked
	entering sync.RWMutex // held to read from a look at held until an entry is queued; a leaf
	proving  atomic.Bool  // an entry is being handed to Raft for confirmTerm
}

// hold is [Replica.Hold].
func (a *appender) hold() (release func(), ok bool) {
	a.entering.Lock() // an entry that is on its way is queued before the hold begins
	ok = a.held.CompareAndSwap(false, true)
	a.entering.Unlock()
	if !ok {
		return nil, false
	}
	var done atomic.Bool
	return func() {
		if done.CompareAndSwap(false, true) {
			a.held.Store(false)
		}
	}, true
}

// flush is [Replica.Flush].
func (a *appender) flush(ctx context.Context) (last uint64, err error) {
	limit := ProposeTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(end), time.Millisecond))
	}
	done := make(chan error, 1)
	go func() {
		// Like every future of Raft's it may not be answered when Raft stops.
		_, err := a.engine.barrier(limit)
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("commit the log: %w", err)
	}
	return a.engine.raft.LastIndex(), nil
}

// queue hands an entry to Raft, unless the log is held. It returns once the entry is
// queued.
func (a *appender) queue(entry []byte) (raft.ApplyFuture, error) {
	a.entering.RLock()
	defer a.entering.RUnlock()
	if a.held.Load() {
		return nil, raft.ErrLeadershipTransferInProgress
	}
	return a.engine.raft.Apply(entry, LeaderWait), nil
}

// barrier is the one of the confirmer, refused during a hold.
func (a *appender) barrier(timeout time.Duration) (term uint64, err error) {
	a.entering.RLock()
	if a.held.Load() {
		a.entering.RUnlock()
		return 0, raft.ErrLeadershipTransferInProgress
	}
	f := a.engine.raft.Barrier(timeout) // returns once it is queued
	a.entering.RUnlock()
	return a.engine.settled(f)
}
