package node

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/lease"
)

// notices tell followers of a commit at once, and bring back what they have
// applied. Raft itself tells them with the next entries, or CommitTimeout later,
// and every write would wait for that, since it answers when all have applied it.
// A barrier behind each write would cost an fsync on every disk.
//
// A notice makes the follower see what Raft would send by itself: an AppendEntries
// of the leader's term without entries, whose previous entry and commit index are
// an entry of that term which is committed. A follower that does not have the
// entry, or has seen a newer term, refuses it like any other. It answers with what
// it has applied, as soon as that changes.
//
// Notices and answers travel on a connection of their own, as fixed words. Several
// that wait are one: only the newest matters.
type notices struct {
	c   *cluster
	ctx context.Context

	mu     sync.Mutex
	newest notice
	failed map[raft.ServerID]uint64 // the newest term in which the server could not be told
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

func newNotices(ctx context.Context, c *cluster) *notices {
	return &notices{c: c, ctx: ctx, to: map[raft.ServerID]*noticeTo{}, failed: map[raft.ServerID]uint64{}}
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
	servers := n.c.otherServers()
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

const (
	noticeRest  = 200 * time.Millisecond // before a server that could not be told is tried again
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

// tell sends what is newest at every kick, the one that is being handled first,
// until the connection fails or ctx ends.
func (n *notices) tell(ctx context.Context, s raft.Server, t *noticeTo) error {
	conn, err := n.c.Mesh.Direct(ctx, n.c.addressOf(string(s.ID), string(s.Address)), string(s.ID))
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
		if a.term == n.c.term.Load() {
			n.c.table.Report(lease.Node{ID: id, Boot: a.boot}, a.applied, n.c.Clock.Now())
		}
	}
}

// takeNotices takes the notices of others until the mesh is closed.
func (c *cluster) takeNotices(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	for {
		conn, peer, err := c.Mesh.AcceptDirect()
		if err != nil {
			return
		}
		under.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if err := c.takeFrom(ctx, conn, peer); err != nil && ctx.Err() == nil {
				c.log.Debug("notices end", "node", c.nameOf(peer), "because", err)
			}
		})
	}
}

// noticeWait bounds how long Raft may take to look at a notice.
const noticeWait = time.Second

// takeFrom hands the notices of one leader to Raft, and meanwhile sends it what is
// applied here, whenever that changes and however Raft came to know of it.
func (c *cluster) takeFrom(ctx context.Context, conn net.Conn, peer string) error {
	trans, ok := c.r.engine.trans.(*carrier)
	if !ok {
		panic("BUG: a cluster without a carrier")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var term atomic.Uint64 // of the newest notice
	answers := make(chan error, 1)
	r := bufio.NewReaderSize(conn, 64*noticeSize)
	var b [noticeSize]byte
	for first := true; ; {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		if r.Buffered() >= noticeSize {
			continue // the next one says more
		}
		n := notice{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
		term.Store(n.term)
		wait, done := context.WithTimeout(ctx, noticeWait)
		trans.Deliver(wait, &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{
				ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(peer), Addr: []byte(c.addressOf(peer, c.configured(peer))),
			},
			Term: n.term, PrevLogEntry: n.index, PrevLogTerm: n.term, LeaderCommitIndex: n.index,
		})
		done()
		if first {
			first = false
			go func() { answers <- c.answerNotices(ctx, conn, &term) }()
		}
		select {
		case err := <-answers:
			return err
		default:
		}
	}
}

// answerNotices sends what is applied here until ctx ends.
func (c *cluster) answerNotices(ctx context.Context, conn net.Conn, term *atomic.Uint64) error {
	var sent noticed
	var b [noticedSize]byte
	for {
		next := c.r.applied.after()
		now := noticed{c.self.Boot, term.Load(), c.r.Store().Applied()}
		if now != sent && now.term == c.currentTerm() {
			if err := conn.SetWriteDeadline(time.Now().Add(noticeWrite)); err != nil {
				return err
			}
			if _, err := conn.Write(now.append(b[:0])); err != nil {
				conn.Close() // who reads it must notice
				return err
			}
			sent = now
			c.reported.Store(now.applied)
			continue
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// configured is a server's address in Raft's configuration.
func (c *cluster) configured(id string) string {
	for _, s := range c.servers() {
		if string(s.ID) == id {
			return string(s.Address)
		}
	}
	return ""
}
