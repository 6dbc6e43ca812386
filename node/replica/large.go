package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/perfgate/perfgate/store"
)

// Bounds of large commands at the leader. Every node applies them one after the
// other, and until it has it reports no newer index: it gets its next lease late, and
// small writes and grants wait in line. So only as much is under way as a loaded node
// applies within lease.Config.JoinLag or not much more, about 1,500 keys of an import. A node
// that takes longer is seen by its lease: while that is late, no more is begun (see
// [Writer]), and afterwards one at a time.
// Small commands need no such bound: maxOutstanding of them are 8 MiB at most.
const (
	largeCommand = 8 << 10         // bytes from which a command is large
	largeBytes   = 512 << 10       // of large commands under way; a larger one goes alone
	largeWait    = 5 * time.Second // for room and leases; then the write is refused, and nothing is held of it
	largePoll    = 10 * time.Millisecond
	largeLeast   = 64 << 10 // of largeBytes when a lease was late: less than a part of an import, so that one goes at a time
	largeTaking  = 64 << 10 // of large commands under way that take rights away; one that is larger waits like the others
	largeStep    = 4 << 10  // by which that grows again with each large command
)

// room is a number of bytes that callers share. Of those that wait, the next one is of the
// account that holds the fewest bytes, and among several such accounts of the one that
// has neither joined nor given bytes back for the longest time. The waiters of one
// account keep their order. So the changes of several accounts alternate, however many
// each of them has, and accounts that come later overtake nobody for good.
type room struct {
	mu    sync.Mutex
	total int
	used  int
	line  []*roomWaiter // bounded by maxOutstanding: each holds a slot
	by    map[store.AccountID]*roomShare
	clock uint64 // counts the accounts that join and the bytes that are given back
}

// roomShare is an account's part of a room; there is one while it holds or waits for some.
type roomShare struct {
	used  int
	since uint64 // room.clock when the account joined, or last gave bytes back
	calls int    // that hold or wait
}

type roomWaiter struct {
	account store.AccountID
	bytes   int
	ready   chan struct{} // closed when the bytes are the waiter's
}

// take waits until n bytes are free for account, or all of them if n is more, and
// returns the function that frees them. It returns nil when ctx has ended first.
func (r *room) take(ctx context.Context, account store.AccountID, n int) (free func()) {
	r.mu.Lock()
	w := &roomWaiter{account, min(n, r.total), make(chan struct{})}
	r.line = append(r.line, w)
	if r.by == nil {
		r.by = make(map[store.AccountID]*roomShare)
	}
	if r.by[account] == nil {
		r.clock++
		r.by[account] = &roomShare{since: r.clock}
	}
	r.by[account].calls++
	r.admitLocked()
	r.mu.Unlock()
	free = func() { r.give(w) }
	select {
	case <-w.ready:
		return free
	case <-ctx.Done():
		free()
		return nil
	}
}

// give frees the bytes of w, or its place in the line.
func (r *room) give(w *roomWaiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	share := r.by[w.account]
	select {
	case <-w.ready:
		r.used -= w.bytes
		share.used -= w.bytes
		r.clock++
		share.since = r.clock
	default:
		i := slices.Index(r.line, w)
		r.line = slices.Delete(r.line, i, i+1)
	}
	if share.calls--; share.calls == 0 {
		delete(r.by, w.account)
	}
	r.admitLocked()
}

// narrow makes the room as small as it gets; widen makes it a step larger, up to largest.
func (r *room) narrow(least int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total = min(r.total, least)
}

func (r *room) widen(step, largest int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total = max(r.total, min(r.total+step, largest))
	r.admitLocked()
}

// admitLocked lets in as many as there is room for. While there is no room for the next
// one, none that needs less is let in: a large one would never get in.
func (r *room) admitLocked() {
	for len(r.line) > 0 {
		i := r.nextLocked()
		w := r.line[i]
		if r.used > 0 && r.used+w.bytes > r.total { // the room may be smaller than when w came
			return
		}
		r.by[w.account].used += w.bytes
		r.used += w.bytes
		r.line = slices.Delete(r.line, i, i+1)
		close(w.ready)
	}
}

// nextLocked is the place in the line of the waiter whose turn it is.
func (r *room) nextLocked() (next int) {
	for i, w := range r.line {
		mine, best := r.by[w.account], r.by[r.line[next].account]
		if mine.used < best.used || mine.used == best.used && mine.since < best.since {
			next = i
		}
	}
	return next
}

// admitLarge waits for room for a command of n bytes of account, if that is large, and until
// no node's lease is late because of those before it.
//
// What takes rights away waits for no lease: a revocation of 500 keys, or a part of an
// incident, goes beside the others, at most largeTaking of such commands at a time.
func (c *committer) admitLarge(ctx context.Context, p *Proposal) (free func(), err error) {
	n := len(p.Raw)
	if n < largeCommand {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, largeWait)
	defer cancel()
	if p.Takes && n <= largeTaking {
		if free = c.taking.take(ctx, p.Account, n); free == nil {
			return nil, Refuse(ErrBusy, nil)
		}
		return free, nil
	}
	if free = c.large.take(ctx, p.Account, n); free == nil {
		return nil, Refuse(ErrBusy, nil)
	}
	if !c.coordinator.Strained() {
		c.large.widen(largeStep, largeBytes)
		return free, nil
	}
	c.large.narrow(largeLeast)
	poll := time.NewTicker(largePoll)
	defer poll.Stop()
	for c.coordinator.Strained() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			free()
			return nil, Refuse(ErrBusy, errors.New("the nodes are late with their leases"))
		}
	}
	return free, nil
}
