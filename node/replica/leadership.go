package replica

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leadership follows Raft's elections as far as this node wins them.
type leadership struct {
	engine      *engine
	coordinator Coordinator
	log         *slog.Logger
	leads       latch // open while this node leads and has applied the terms before; set by follow and by the shutdown
}

// follow opens leads when this node has won an election and applied everything that
// was committed before it, and shuts it when it has lost it, until ctx ends.
func (l *leadership) follow(ctx context.Context) {
	var barrier chan outcome
	for {
		select {
		case <-ctx.Done():
			return
		case won := <-l.engine.leads:
			l.leads.set(false)
			l.coordinator.Ended()
			barrier = nil
			if won {
				barrier = l.barrier()
			}
		case o := <-barrier:
			barrier = nil
			switch {
			case o.err == nil:
				l.coordinator.Began(o.term)
				l.leads.set(true)
			case l.engine.raft.State() == raft.Leader:
				l.log.Warn("waiting for the log to be applied", "error", o.err)
				barrier = l.barrier()
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
func (l *leadership) barrier() chan outcome {
	done := make(chan outcome, 1)
	go func() {
		term, err := l.engine.barrier(ProposeTimeout)
		done <- outcome{term, err}
	}()
	return done
}

// await returns as soon as this node leads, and at the latest after limit.
func (l *leadership) await(ctx context.Context, limit time.Duration) error {
	if !l.leads.isOpen() {
		return l.leads.wait(ctx, limit)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
