package replica

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// followLeadership opens r.leads when this node has won an election and applied
// everything that was committed before it, and closes it when it has lost it.
func (r *Replica) followLeadership(ctx context.Context) {
	var barrier chan outcome
	for {
		select {
		case <-ctx.Done():
			return
		case won := <-r.engine.leads:
			r.leads.set(false)
			r.coordinator.Ended()
			barrier = nil
			if won {
				barrier = r.barrier()
			}
		case o := <-barrier:
			barrier = nil
			switch {
			case o.err == nil:
				r.coordinator.Began(o.term)
				r.leads.set(true)
			case r.engine.raft.State() == raft.Leader:
				r.cfg.Logger.Warn("waiting for the log to be applied", "error", o.err)
				barrier = r.barrier()
			}
		}
	}
}

// outcome is the answer of a barrier.
type outcome struct {
	term uint64 // of its entry: the one that this node leads in
	err  error
}

// barrier answers when everything committed so far is applied here. Like every
// future of Raft's it may not answer when Raft stops.
func (r *Replica) barrier() chan outcome {
	done := make(chan outcome, 1)
	go func() {
		term, err := r.engine.barrier(ProposeTimeout)
		done <- outcome{term, err}
	}()
	return done
}

// latch is a condition that is awaited: open or shut. The zero value is shut.
type latch struct {
	mu     sync.Mutex
	open   bool
	opened chan struct{} // closed when it opens; nil while none waits
}

func (l *latch) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *latch) set(open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open = open; open && l.opened != nil {
		close(l.opened)
		l.opened = nil
	}
}

// wait returns nil once the latch is open, or why it was not in time.
func (l *latch) wait(ctx context.Context, limit time.Duration) error {
	l.mu.Lock()
	if l.open {
		l.mu.Unlock()
		return nil
	}
	if l.opened == nil {
		l.opened = make(chan struct{})
	}
	opened := l.opened
	l.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-opened:
		return nil
	case <-timer.C:
		return fmt.Errorf("no leader for %v", limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}
