package replica

import (
	"context"
	"errors"
	"sync"
	"time"
)

// confirmLinger is how long a request for confirmation waits for an ordinary write
// to confirm it, and for other requests, before an entry is made for the purpose.
const confirmLinger = 2 * time.Millisecond

// errNotLeading is the answer of a leader that has lost the leadership meanwhile.
var errNotLeading = errors.New("this node does not lead")

// confirmer proves that this node leads at a moment: an entry of its own that was
// proposed after that moment, and committed, could not have been if there were a
// newer leader. raft.VerifyLeader proves less: it counts answers to heartbeats
// that were sent before it was asked.
type confirmer struct {
	barrier func(timeout time.Duration) (term uint64, err error)

	mu      sync.Mutex
	turn    uint64 // counts the askers
	waiting []asker
	kick    chan struct{} // holds a token when somebody waits
}

type asker struct {
	turn uint64
	done chan uint64 // gets the term; closed without one when it could not be confirmed
}

func newConfirmer(barrier func(time.Duration) (uint64, error)) *confirmer {
	return &confirmer{barrier: barrier, kick: make(chan struct{}, 1)}
}

// Confirm returns the term in which this node led after the call. Everything that
// was committed before the call is then applied to this node's state.
func (c *confirmer) Confirm(ctx context.Context) (uint64, error) {
	a := asker{done: make(chan uint64, 1)}
	c.mu.Lock()
	c.turn++
	a.turn = c.turn
	c.waiting = append(c.waiting, a)
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
	select {
	case term, ok := <-a.done:
		if !ok {
			return 0, errNotLeading
		}
		return term, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// mark is to be read before an entry is proposed, for served.
func (c *confirmer) mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turn
}

// served tells that an entry which was proposed after mark is committed in term
// and applied; term 0: it failed.
func (c *confirmer) served(mark, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.waiting[:0]
	for _, a := range c.waiting {
		switch {
		case a.turn > mark:
			rest = append(rest, a)
		case term == 0:
			close(a.done)
		default:
			a.done <- term
		}
	}
	clear(c.waiting[len(rest):])
	c.waiting = rest
}

// Run makes entries for the requests that no write confirms in time, until ctx
// ends. One is under way at a time, for all that wait.
func (c *confirmer) Run(ctx context.Context) {
	linger := time.NewTimer(0)
	defer linger.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		}
		linger.Reset(confirmLinger)
		select {
		case <-ctx.Done():
			return
		case <-linger.C:
		}
		c.mu.Lock()
		idle := len(c.waiting) == 0
		c.mu.Unlock()
		if idle {
			continue
		}
		mark := c.mark()
		// A future may never be answered (raft #498): the goroutine is then left
		// behind, and each request has a deadline of its own.
		done := make(chan uint64, 1)
		go func() {
			term, err := c.barrier(confirmTimeout)
			if err != nil {
				term = 0
			}
			done <- term
		}()
		timeout := time.NewTimer(confirmTimeout)
		select {
		case term := <-done:
			c.served(mark, term)
		case <-timeout.C:
			c.served(mark, 0)
		case <-ctx.Done():
			timeout.Stop()
			return
		}
		timeout.Stop()
		c.rekick()
	}
}

// rekick wakes Run for the requests that came while it was busy.
func (c *confirmer) rekick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) > 0 {
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}

// confirmTimeout bounds one entry; a lease is not granted on an older one anyway.
const confirmTimeout = time.Second

// The rhythm of confirmTerm.
const (
	commitPoll  = time.Millisecond       // Raft does not tell of a commit before it is applied
	commitAgain = 100 * time.Millisecond // after an entry was handed to Raft and is not in the log yet
)

// confirmTerm is [Replica.ConfirmTerm].
//
// The entries after last are appended after the call: Raft publishes an index in
// LastIndex before it sends the entry to anyone. While the term lasts, no other node
// leads in it, so this node's log and commit index move by its own entries alone. The
// term is read again after the commit index, and terms never go back.
func (a *appender) confirmTerm(ctx context.Context, term uint64) error {
	rf := a.engine.raft
	last := rf.LastIndex()
	poll := time.NewTicker(commitPoll)
	defer poll.Stop()
	entry := time.NewTimer(confirmLinger) // an ordinary write will do
	defer entry.Stop()
	for {
		if committed := rf.CommitIndex(); rf.CurrentTerm() != term {
			return errNotLeading
		} else if committed > last {
			return nil
		}
		select {
		case <-poll.C:
		case <-entry.C:
			if rf.LastIndex() == last && !a.held.Load() {
				a.appendEntry()
				entry.Reset(commitAgain)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// appendEntry has Raft append an entry that changes nothing, if it is not doing so
// already. It does not wait.
func (a *appender) appendEntry() {
	if a.proving.Swap(true) {
		return
	}
	go func() {
		defer a.proving.Store(false)
		a.engine.raft.Barrier(confirmTimeout) // returns when Raft has it; its answer waits for apply
	}()
}
