package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
)

// leadership is the state of this node as leader: the lease table, the nodes'
// reports, and the moments of its term. It exists on every node and is in use only
// while this one leads; Began starts it over for each term.
type leadership struct {
	*node
	peers   *peers
	carrier *carrier // set by Enter
	clocks  *clocks
	notices *notices // set by Start
	metrics *metrics
	renew   func()       // makes the renewal of this node's own lease due
	table   *lease.Table // has a lock of its own
	reports reports      // reports of nodes in this term; has a lock of its own

	// Written by Began, in the goroutine that follows the leadership. terms is held
	// while a term begins, and to read while a message of a term is taken: see inTerm.
	terms    sync.RWMutex
	term     atomic.Uint64 // the newest that this node led in
	ledSince atomic.Int64  // when that term began here, by this node's clock

	awaited   atomic.Uint64                 // the newest term in which awaitReports is done
	promoting atomic.Pointer[raft.ServerID] // the server with a vote that is not committed yet; see promote

	unconfirmed unconfirmed // see overseer
}

// errLost reports that this node lost the leadership before a write was in force.
var errLost = errors.New("the leadership was lost")

// begin starts a term: this node leads and has applied everything from before it.
func (l *leadership) begin(term uint64) {
	defer l.renew()
	l.terms.Lock()
	defer l.terms.Unlock()
	stale := map[string]bool{}
	for _, m := range l.r.Store().Members() {
		if m.Stale && m.ID != l.self.ID {
			stale[m.ID] = true
			l.table.Suspect(m.ID)
		}
	}
	for _, h := range l.table.Status(l.Clock.Now()) { // of earlier terms of this node's
		if !stale[h.ID] {
			l.table.Forget(h.ID)
		}
	}
	l.term.Store(term)
	l.unconfirmed.confirmed()
	l.reports.reset()
	l.ledSince.Store(l.Clock.Now())
	l.Clock.Sync()
	l.table.Begin(term, l.Clock.Now(), l.r.Store().Applied())
}

// inTerm calls take if term is the newest that this node led in, and reports whether
// it is. No later term begins meanwhile: a message that take hands to the table or the
// reports cannot get into those of the next term, where it would speak for a process
// that may have ended; see [lease.Table.Suspect].
func (l *leadership) inTerm(term uint64, take func()) bool {
	l.terms.RLock()
	defer l.terms.RUnlock()
	if term != l.term.Load() {
		return false
	}
	take()
	return true
}

// end is called when this node leads no more.
func (l *leadership) end() {
	l.table.End()
	l.renew()
}

// settle is the leader's part of Settle. It returns errLost when this node does not
// lead any more.
func (l *leadership) settle(ctx context.Context, index, term uint64, takes bool) (effective bool, nodes []replica.Ack, err error) {
	l.awaitReports(ctx, term)
	w := l.table.Write(term, index, takes, l.Clock.Now())
	defer w.Cancel()
	// The state here includes the write, and a report need not travel for that.
	l.inTerm(term, func() { l.table.Report(l.self, l.applied(), l.Clock.Now()) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := l.Clock.Now()
		state, next := w.Poll(now)
		switch state {
		case lease.Lost:
			return false, nil, errLost
		case lease.Done:
			return w.Effective(), l.acks(w.Nodes()), nil
		}
		timer.Reset(time.Duration(max(next-now, 1)))
		select {
		case <-w.Changed():
		case <-timer.C:
		case <-ctx.Done():
			return false, nil, replica.Refuse(replica.ErrUnknownOutcome, fmt.Errorf("the change is made, but not yet known to be in force everywhere: %w", ctx.Err()))
		case <-l.r.Stopped():
			return false, nil, replica.Refuse(replica.ErrUnknownOutcome, raft.ErrRaftShutdown)
		}
	}
}

// reportsWait is how long a new leader's first writes wait to hear of the nodes that
// it might reach. A follower asks for a lease as soon as it knows its new leader.
const reportsWait = 300 * time.Millisecond

// awaitReports waits, in a leader's first moments, until every server was heard of or
// cannot be reached. A node may serve on a lease of the last leader, of which this
// one knows nothing: a write that gives a right must be visible there too when it
// answers, if that node is in contact. (One that takes a right waits until such
// leases have ended in any case.)
func (l *leadership) awaitReports(ctx context.Context, term uint64) {
	if l.awaited.Load() >= term {
		return
	}
	poll := time.NewTicker(reportsPoll)
	defer poll.Stop()
	for l.Clock.Now()-l.ledSince.Load() < int64(reportsWait) {
		missing := false
		for _, s := range l.otherServers() {
			if _, heard := l.reports.of(string(s.ID)); !heard && !l.notices.Unreached(s.ID, term) {
				missing = true
			}
		}
		if !missing {
			break
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
	l.awaited.Store(term)
}

// reportsPoll is how often awaitReports looks.
const reportsPoll = 5 * time.Millisecond

// acks names the nodes of a wait.
func (l *leadership) acks(list []lease.Ack) []replica.Ack {
	out := make([]replica.Ack, 0, len(list))
	for _, a := range list {
		out = append(out, replica.Ack{Name: l.nameOf(a.ID), How: a.How})
	}
	slices.SortFunc(out, func(a, b replica.Ack) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// full reports whether so many voters have no space that a change would wait for
// it, and everything after the change with it.
func (l *leadership) full() bool {
	voters, room := 0, 0
	for _, s := range l.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		f, heard := l.reports.of(string(s.ID))
		if !heard || !f.Full {
			room++ // one that is not heard of is no reason to refuse
		}
	}
	return room <= voters/2
}

// read is the leader's part of linearize: an index that includes every write
// that was answered before the call.
func (l *leadership) read(ctx context.Context) (uint64, error) {
	if !l.r.Leads() {
		return 0, replica.ErrNotTaken
	}
	if _, err := l.r.Confirm(ctx); err != nil {
		return 0, replica.ErrNotTaken
	}
	return l.r.Store().Applied(), nil
}
