package cluster

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
)

// noticeReader takes the notices of leaders and answers with the index that is
// applied here.
type noticeReader struct {
	*node
	peers    *peers
	trans    *carrier      // set by Enter
	reported atomic.Uint64 // the newest index of an answer to a notice
}

// takeNotices takes the notices of others until the mesh is closed.
func (nr *noticeReader) takeNotices(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	for {
		conn, peer, err := nr.mesh.AcceptDirect()
		if err != nil {
			return
		}
		under.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if err := nr.takeFrom(ctx, conn, peer); err != nil && ctx.Err() == nil {
				nr.log.Debug("notices end", "node", nr.nameOf(peer), "reason", err)
			}
		})
	}
}

// noticeWait bounds how long Raft may take to look at a notice.
const noticeWait = time.Second

// takeFrom hands the notices of one leader to Raft, and meanwhile sends it the
// index that is applied here, whenever that changes and by whatever way.
func (nr *noticeReader) takeFrom(ctx context.Context, conn net.Conn, peer string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var term atomic.Uint64 // of the newest notice
	heard := make(chan struct{}, 1)
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
		nr.trans.Deliver(wait, &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{
				ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(peer), Addr: []byte(nr.peers.addressOf(peer, nr.configured(peer))),
			},
			Term: n.term, PrevLogEntry: n.index, PrevLogTerm: n.term, LeaderCommitIndex: n.index,
		})
		done()
		if first {
			first = false
			go func() { answers <- nr.answerNotices(ctx, conn, &term, heard) }()
		}
		select {
		case heard <- struct{}{}:
		default:
		}
		select {
		case err := <-answers:
			return err
		default:
		}
	}
}

// answerNotices sends the index that is applied here until ctx ends. It looks again when
// that changes, and when a notice has been heard, which may be the first of a new term.
func (nr *noticeReader) answerNotices(ctx context.Context, conn net.Conn, term *atomic.Uint64, heard <-chan struct{}) error {
	var sent noticed
	var b [noticedSize]byte
	for {
		next := nr.r.Changed()
		now := noticed{nr.self.Boot, term.Load(), nr.applied()}
		if now != sent && now.term == nr.currentTerm() {
			if err := conn.SetWriteDeadline(time.Now().Add(noticeWrite)); err != nil {
				return err
			}
			if _, err := conn.Write(now.append(b[:0])); err != nil {
				conn.Close() // the reader must notice
				return err
			}
			sent = now
			nr.reported.Store(now.applied)
			continue
		}
		select {
		case <-next:
		case <-heard:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
