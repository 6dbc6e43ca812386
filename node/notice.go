package node

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// notices tell followers of a commit at once. Raft itself tells them with the
// next entries, or CommitTimeout later: up to 20 ms that every write would wait,
// since it answers when all have applied it. A barrier behind each write would
// cost an fsync on every disk.
//
// A notice is what Raft would send by itself: an AppendEntries of the leader's
// term without entries, whose previous entry and commit index are an entry of
// that term which is committed. A follower that does not have the entry, or has
// seen a newer term, refuses it like any other; the answer is not looked at.
type notices struct {
	trans raft.Transport // one that gives up
	self  raft.ServerID
	addr  raft.ServerAddress
	peers func() []raft.Server // the others, as configured

	mu     sync.Mutex
	newest raft.Log                 // Index and Term of the newest entry known to be committed
	failed map[raft.ServerID]uint64 // the newest term in which a notice did not reach the server
	to     map[raft.ServerID]*noticeTo
	ctx    context.Context
	tasks  sync.WaitGroup
}

type noticeTo struct {
	kick chan struct{}
	stop context.CancelFunc
}

func newNotices(ctx context.Context, trans raft.Transport, self raft.ServerID, peers func() []raft.Server) *notices {
	return &notices{trans: trans, self: self, addr: trans.LocalAddr(), peers: peers, to: map[raft.ServerID]*noticeTo{}, failed: map[raft.ServerID]uint64{}, ctx: ctx}
}

// Committed tells the others that the entry at index, of this leader's own term,
// is committed.
func (n *notices) Committed(index, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil || index <= n.newest.Index && term <= n.newest.Term {
		return
	}
	n.newest.Index, n.newest.Term = index, term
	for _, t := range n.to {
		select {
		case t.kick <- struct{}{}:
		default:
		}
	}
}

// Follow is told of the servers, whenever they may have changed.
func (n *notices) Follow() {
	servers := n.peers()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return
	}
	gone := map[raft.ServerID]bool{}
	for id := range n.to {
		gone[id] = true
	}
	for _, s := range servers {
		delete(gone, s.ID)
		if n.to[s.ID] == nil {
			ctx, stop := context.WithCancel(n.ctx)
			t := &noticeTo{kick: make(chan struct{}, 1), stop: stop}
			n.to[s.ID] = t
			n.tasks.Go(func() { n.run(ctx, s, t) })
		}
	}
	for id := range gone {
		n.to[id].stop()
		delete(n.to, id)
		delete(n.failed, id)
	}
}

// Unreached reports whether the server could not be told of a commit in term.
func (n *notices) Unreached(id raft.ServerID, term uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed[id] >= term
}

// noticeRest is how long a server that does not answer is left alone.
const noticeRest = 500 * time.Millisecond

func (n *notices) run(ctx context.Context, s raft.Server, t *noticeTo) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.kick:
		}
		n.mu.Lock()
		newest := n.newest
		n.mu.Unlock()
		req := &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{
				ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.self), Addr: n.trans.EncodePeer(n.self, n.addr),
			},
			Term:         newest.Term,
			PrevLogEntry: newest.Index, PrevLogTerm: newest.Term, LeaderCommitIndex: newest.Index,
		}
		if err := n.trans.AppendEntries(s.ID, s.Address, req, new(raft.AppendEntriesResponse)); err == nil {
			continue
		}
		n.mu.Lock()
		n.failed[s.ID] = newest.Term
		n.mu.Unlock()
		rest := time.NewTimer(noticeRest)
		select {
		case <-ctx.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
	}
}
