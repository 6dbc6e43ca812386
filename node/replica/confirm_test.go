package replica

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// barriers counts the entries that are made to confirm the leadership, and answers
// them after a while.
type barriers struct {
	made  atomic.Int64
	takes atomic.Int64  // nanoseconds
	term  atomic.Uint64 // 0: this node does not lead
}

func (b *barriers) barrier(time.Duration) (uint64, error) {
	b.made.Add(1)
	time.Sleep(time.Duration(b.takes.Load())) // in the bubble: no time passes
	if term := b.term.Load(); term > 0 {
		return term, nil
	}
	return 0, errors.New("not the leader")
}

// confirming runs a confirmer over b in a synctest bubble until the test ends.
func confirming(t *testing.T, b *barriers) *confirmer {
	c := newConfirmer(b.barrier)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// Requests that wait are confirmed together, by one entry that was proposed after
// the last of them; one that comes later needs another.
func TestConfirmsMeetInOneEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 10 * time.Millisecond
		b := &barriers{}
		b.takes.Store(int64(takes))
		b.term.Store(7)
		c := confirming(t, b)
		var confirmed atomic.Int64
		for range 100 {
			go func() {
				if term, err := c.Confirm(t.Context()); err == nil && term == 7 {
					confirmed.Add(1)
				}
			}()
		}
		time.Sleep(confirmLinger + takes/2) // the entry is under way
		late := make(chan uint64, 1)
		go func() {
			term, _ := c.Confirm(t.Context())
			late <- term
		}()
		time.Sleep(takes/2 + time.Millisecond)
		synctest.Wait()
		if confirmed.Load() != 100 || b.made.Load() != 1 {
			t.Errorf("%d of 100 confirmed by %d entries", confirmed.Load(), b.made.Load())
		}
		select {
		case <-late:
			t.Error("an entry confirmed a request that came after it")
		default:
		}
		if term := <-late; term != 7 || b.made.Load() != 2 {
			t.Errorf("the late request got term %d from %d entries", term, b.made.Load())
		}
	})
}

// An ordinary write confirms the requests from before it was proposed, and no
// entry is made for them.
func TestWriteConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &barriers{}
		b.term.Store(7)
		c := confirming(t, b)
		before := make(chan uint64, 1)
		go func() { term, _ := c.Confirm(t.Context()); before <- term }()
		synctest.Wait()
		mark := c.mark()
		c.served(mark, 5)
		if term := <-before; term != 5 {
			t.Errorf("confirmed in term %d, must be that of the write", term)
		}
		time.Sleep(10 * confirmLinger)
		if n := b.made.Load(); n != 0 {
			t.Errorf("%d entries were made for nothing", n)
		}
		// A request from after the mark is not the write's.
		after := make(chan uint64, 1)
		mark = c.mark()
		go func() { term, _ := c.Confirm(t.Context()); after <- term }()
		synctest.Wait()
		c.served(mark, 5)
		if term := <-after; term != 7 {
			t.Errorf("a write from before confirmed in term %d", term)
		}
	})
}

// Without leadership, or without an answer in time, nothing is confirmed.
func TestConfirmFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &barriers{}
		c := confirming(t, b)
		if _, err := c.Confirm(t.Context()); !errors.Is(err, errNotLeading) {
			t.Errorf("a follower confirms: %v", err)
		}
		b.term.Store(7)
		b.takes.Store(int64(time.Hour))
		began := time.Now()
		if _, err := c.Confirm(t.Context()); !errors.Is(err, errNotLeading) || time.Since(began) != confirmLinger+confirmTimeout {
			t.Errorf("an entry without an answer: %v after %v", err, time.Since(began))
		}
		b.takes.Store(0)
		if term, err := c.Confirm(t.Context()); term != 7 || err != nil {
			t.Errorf("afterwards: %d, %v", term, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), confirmLinger/2)
		defer cancel()
		if _, err := c.Confirm(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that gives up: %v", err)
		}
		time.Sleep(2 * time.Hour) // for the entry that had no answer
	})
}

// A latch lets waiters through when it opens, and for as long as it is open.
func TestLatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l latch
		if err := l.wait(t.Context(), time.Second); err == nil || l.isOpen() {
			t.Error("it is open from the start")
		}
		var through atomic.Int64
		for range 10 {
			go func() {
				if l.wait(t.Context(), time.Minute) == nil {
					through.Add(1)
				}
			}()
		}
		synctest.Wait()
		if through.Load() != 0 {
			t.Error("somebody did not wait")
		}
		l.set(true)
		synctest.Wait()
		if through.Load() != 10 || l.wait(t.Context(), 0) != nil {
			t.Errorf("%d of 10 came through", through.Load())
		}
		l.set(false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.wait(ctx, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("shut again, and the caller gave up: %v", err)
		}
	})
}

// Waiting for an index ends when the state has it, not before.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var index atomic.Uint64
		p := &progress{index: index.Load}
		done := make(chan error, 1)
		go func() { done <- p.wait(t.Context(), 3) }()
		for i := uint64(1); i < 3; i++ {
			synctest.Wait()
			index.Store(i)
			p.changed()
		}
		synctest.Wait()
		if len(done) > 0 {
			t.Error("it did not wait for index 3")
		}
		index.Store(4)
		p.changed()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.wait(t.Context(), 4); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.wait(ctx, 5); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an index that never comes: %v", err)
		}
	})
}
