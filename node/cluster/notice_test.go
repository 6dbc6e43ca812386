package cluster

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica/replicatest"
)

// nextNotice reads one notice.
func nextNotice(t *testing.T, c net.Conn) notice {
	t.Helper()
	var b [noticeSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		t.Fatal(err)
	}
	return notice{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

// A commit is told to each follower on one connection, an older one never after it, and
// the answers count for writes if they are of this term.
func TestNoticesReachFollowers(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	replicatest.Must(t, s.r, replicatest.CreateKey(1))
	conn, peer, err := p.mesh.AcceptDirect()
	if err != nil || peer != s.self.ID {
		t.Fatalf("%q, %v", peer, err)
	}
	defer conn.Close()
	term := s.leadership.term.Load()
	first := nextNotice(t, conn)
	if first.term != term || first.index == 0 || first.index > s.r.LastIndex() {
		t.Errorf("%+v", first)
	}
	n := s.leadership.notices
	n.Committed(1, term)               // late
	n.Committed(first.index+9, term-1) // of a term that is over
	n.Committed(1000, term)
	if got := nextNotice(t, conn); got != (notice{term, 1000}) {
		t.Errorf("after an older commit: %+v", got)
	}
	rep := func() uint64 {
		for _, h := range s.leadership.table.Status(s.Clock.Now()) {
			if h.ID == p.id && h.Boot == 7 {
				return h.Rep
			}
		}
		return 0
	}
	for _, a := range []noticed{{7, term - 1, 900}, {7, term, 30}} {
		if _, err := conn.Write(a.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	s.until("the answer to count", func() bool { return rep() > 0 })
	if got := rep(); got != 30 {
		t.Errorf("the node has applied %d: an answer of another term counts", got)
	}
	// One that is no server any more is told nothing.
	if err := s.r.Raft().RemoveServer(raft.ServerID(p.id), 0, changeWait).Error(); err != nil {
		t.Fatal(err)
	}
	n.Follow()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Logf("the connection ends: %v", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.to) != 0 {
		t.Errorf("%d servers are told", len(n.to))
	}
}

// A server that was not reached is known for the term, so that a new leader does not
// wait for its report, and is tried again.
func TestUnreachedByNotices(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	n, id, term := s.leadership.notices, raft.ServerID(p.id), s.leadership.term.Load()
	if n.Unreached(id, term) {
		t.Error("before any commit")
	}
	p.mesh.Close()
	index := s.r.LastIndex()
	s.until("it to be unreached", func() bool {
		index++
		n.Committed(index, term)
		return n.Unreached(id, term)
	})
	if n.Unreached(id, term+1) {
		t.Error("in a term of which nothing is known")
	}
	if err := s.r.Raft().RemoveServer(id, 0, changeWait).Error(); err != nil {
		t.Fatal(err)
	}
	n.Follow()
	if n.Unreached(id, term) {
		t.Error("after it was removed")
	}
}

// A follower answers a notice of its leader's term with the index that it has applied
// and the boot of its process, and a notice of an older term not at all.
func TestNoticesAreAnswered(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	s.peers.tasks.Go(func() { s.reader.takeNotices(t.Context()) })
	p.leads()
	term := s.currentTerm()
	conn, err := p.mesh.Direct(t.Context(), s.mesh.Advertise(), s.self.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	index := s.r.LastIndex()
	for _, n := range []notice{{term - 1, index}, {term, index}} {
		if _, err := conn.Write(n.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	var b [noticedSize]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		t.Fatal(err)
	}
	got := noticed{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
	if want := (noticed{s.self.Boot, term, s.r.Store().Applied()}); got != want {
		t.Errorf("%+v, must be %+v", got, want)
	}
	s.until("the report to be spared", func() bool { return s.reader.reported.Load() == got.applied })
}

// A notice of a new term is answered although nothing is applied after it: the leader of
// that term may wait for the answer.
func TestNoticeOfANewTermIsAnswered(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	near, far := net.Pipe()
	defer far.Close()
	if err := far.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var term atomic.Uint64
	term.Store(s.currentTerm() - 1)
	heard, ended := make(chan struct{}), make(chan error)
	go func() { ended <- s.reader.answerNotices(ctx, near, &term, heard) }()
	heard <- struct{}{} // it has looked at the old term, and waits
	term.Store(s.currentTerm())
	heard <- struct{}{}
	var b [noticedSize]byte
	if _, err := io.ReadFull(far, b[:]); err != nil {
		t.Error(err)
	}
	if got := binary.BigEndian.Uint64(b[8:]); got != s.currentTerm() {
		t.Errorf("the answer is of term %d, must be of %d", got, s.currentTerm())
	}
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
}
