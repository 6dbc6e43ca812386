package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/lease"
)

// notices tell followers of a commit at once, and bring back the index that they
// have applied. Raft itself does so with the next entries, or CommitTimeout later,
// and every write would wait for that, since it answers when all have applied it.
// A barrier after each write would cost an fsync on every disk.
//
// A notice gives the follower a message as Raft would send it: an AppendEntries of
// the leader's term without entries. Its previous entry and commit index are an
// entry of that term which is committed. A follower that does not have the
// entry, or has seen a newer term, refuses it like any other. It answers with
// its applied index, as soon as that changes.
//
// Notices and answers travel on a connection of their own, as fixed words. Several
// that wait are one: only the newest matters.
type notices struct {
	*node
	peers      *peers
	leadership *leadership
	ctx        context.Context

	mu     sync.Mutex // guards the fields below but tasks
	newest notice
	failed map[raft.ServerID]uint64 // the newest term in which the server was not reached
	to     map[raft.ServerID]*noticeTo
	tasks  sync.WaitGroup
}

// notice is an entry that is committed: term and index, 8 bytes each, big-endian.
type notice struct{ term, index uint64 }

// noticed is the answer: the boot of the process, and the index that its state
// includes, in the term of the notice.
type noticed struct{ boot, term, applied uint64 }

const (
	noticeSize  = 16
	noticedSize = 24
)

func (n notice) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, n.term), n.index)
}

func (n noticed) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, n.boot)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, n.term), n.applied)
}

type noticeTo struct {
	kick chan struct{}
	stop context.CancelFunc
}

func newNotices(ctx context.Context, n *node, p *peers, l *leadership) *notices {
	return &notices{node: n, peers: p, leadership: l, ctx: ctx, to: map[raft.ServerID]*noticeTo{}, failed: map[raft.ServerID]uint64{}}
}

// Committed tells the others that the entry at index, of this leader's own term,
// is committed.
func (n *notices) Committed(index, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil || term < n.newest.term || term == n.newest.term && index <= n.newest.index {
		return
	}
	n.newest = notice{term, index}
	for _, t := range n.to {
		select {
		case t.kick <- struct{}{}:
		default:
		}
	}
}

// Follow takes over Raft's servers; it is called whenever they may have changed.
func (n *notices) Follow() {
	servers := n.otherServers()
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

// Unreached reports whether the server was not reached with a commit in term.
func (n *notices) Unreached(id raft.ServerID, term uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed[id] >= term
}

const (
	noticeRest  = 200 * time.Millisecond // before a server that was not reached is tried again
	noticeWrite = time.Second            // one that takes nothing in for so long is given up
)

// run tells one server until ctx ends.
func (n *notices) run(ctx context.Context, s raft.Server, t *noticeTo) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.kick:
		}
		if err := n.tell(ctx, s, t); err == nil || ctx.Err() != nil {
			return
		}
		n.mu.Lock()
		n.failed[s.ID] = n.newest.term
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

// tell sends the newest notice at every kick, the one that is being handled first,
// until the connection fails or ctx ends.
func (n *notices) tell(ctx context.Context, s raft.Server, t *noticeTo) error {
	conn, err := n.mesh.Direct(ctx, n.peers.addressOf(string(s.ID), string(s.Address)), string(s.ID))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	broken := make(chan error, 1)
	go func() { broken <- n.hear(conn, string(s.ID)) }()
	var buf [noticeSize]byte
	for {
		n.mu.Lock()
		newest := n.newest
		n.mu.Unlock()
		if err := conn.SetWriteDeadline(time.Now().Add(noticeWrite)); err != nil {
			return err
		}
		if _, err := conn.Write(newest.append(buf[:0])); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case <-t.kick:
		}
	}
}

// hear takes the answers of one server.
func (n *notices) hear(conn net.Conn, id string) error {
	r := bufio.NewReaderSize(conn, 64*noticedSize)
	var b [noticedSize]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		if r.Buffered() >= noticedSize {
			continue // the next one says more
		}
		a := noticed{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
		n.leadership.inTerm(a.term, func() {
			n.leadership.table.Report(lease.Node{ID: id, Boot: a.boot}, a.applied, n.Clock.Now())
		})
	}
}
