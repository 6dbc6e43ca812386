package replica

import (
	"context"
	"sync"
	"time"
)

// Bounds of large commands at the leader. Every node applies them one after the
// other, and until it has it reports no newer index: it gets its next lease late, and
// small writes and grants wait in line. So only as much is under way as a loaded node
// applies within lease.Config.JoinLag or not much more, about 1,500 keys of an import.
// Small commands need no such bound: maxOutstanding of them are 8 MiB at most.
const (
	largeCommand = 8 << 10         // bytes from which a command is large
	largeBytes   = 512 << 10       // of large commands under way; a larger one goes alone
	largeWait    = 5 * time.Second // for room; then the write is refused, and nothing is held of it
)

// room is a number of bytes that callers share, first come first served.
type room struct {
	total int

	mu   sync.Mutex
	used int
	line []*roomWaiter // bounded by maxOutstanding: each holds a slot
}

type roomWaiter struct {
	bytes int
	ready chan struct{} // closed when the bytes are the waiter's
}

// take waits until n bytes are free, or all of them if n is more, and returns the
// function that frees them. It returns nil when ctx has ended first.
func (r *room) take(ctx context.Context, n int) (free func()) {
	n = min(n, r.total)
	w := &roomWaiter{n, make(chan struct{})}
	r.mu.Lock()
	r.line = append(r.line, w)
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
	select {
	case <-w.ready:
		r.used -= w.bytes
	default:
		for i, o := range r.line {
			if o == w {
				r.line = append(r.line[:i], r.line[i+1:]...)
				break
			}
		}
	}
	r.admitLocked()
}

// admitLocked lets in as many as there is room for, in their order.
func (r *room) admitLocked() {
	for len(r.line) > 0 && r.used+r.line[0].bytes <= r.total {
		r.used += r.line[0].bytes
		close(r.line[0].ready)
		r.line[0] = nil
		r.line = r.line[1:]
	}
}

// admitLarge waits for room for a command of n bytes, if that is large.
func (c *committer) admitLarge(ctx context.Context, n int) (free func(), err error) {
	if n < largeCommand {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, largeWait)
	defer cancel()
	if free = c.large.take(ctx, n); free == nil {
		return nil, Refuse(ErrBusy, nil)
	}
	return free, nil
}
