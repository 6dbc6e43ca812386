package replica

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Hold keeps new entries out of the log while this node hands its leadership over:
// the next leader must have them all, and an entry that arrives too late would have
// an unknown outcome. Writes and confirmations are answered ErrNotTaken meanwhile, so
// that callers repeat them, until the first call of release. One hold is possible at
// a time; ok is false during another one.
//
// Raft's own transfer has such a flag too, but may leave it set for good when the
// target does not answer (hashicorp/raft issue 696).
func (r *Replica) Hold() (release func(), ok bool) {
	r.entering.Lock() // an entry that is on its way is queued before the hold begins
	ok = r.held.CompareAndSwap(false, true)
	r.entering.Unlock()
	if !ok {
		return nil, false
	}
	var done atomic.Bool
	return func() {
		if done.CompareAndSwap(false, true) {
			r.held.Store(false)
		}
	}, true
}

// Flush returns the last index of the log after every entry that was proposed before
// the call is committed, or the reason why that is not certain within the time of ctx.
// It works during a hold.
func (r *Replica) Flush(ctx context.Context) (last uint64, err error) {
	limit := ProposeTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(end), time.Millisecond))
	}
	done := make(chan error, 1)
	go func() {
		// Like every future of Raft's it may not be answered when Raft stops.
		_, err := r.engine.barrier(limit)
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
	return r.LastIndex(), nil
}

// queue hands an entry to Raft, unless the log is held. It returns once the entry is
// queued.
func (r *Replica) queue(entry []byte) (raft.ApplyFuture, error) {
	r.entering.RLock()
	defer r.entering.RUnlock()
	if r.held.Load() {
		return nil, raft.ErrLeadershipTransferInProgress
	}
	return r.engine.raft.Apply(entry, LeaderWait), nil
}

// confirming is the barrier of the confirmer, refused during a hold.
func (r *Replica) confirming(timeout time.Duration) (term uint64, err error) {
	r.entering.RLock()
	if r.held.Load() {
		r.entering.RUnlock()
		return 0, raft.ErrLeadershipTransferInProgress
	}
	f := r.engine.raft.Barrier(timeout) // returns once it is queued
	r.entering.RUnlock()
	return r.engine.settled(f)
}
