package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// carrier is Raft's network transport with more patience for a peer that is down.
//
// Raft waits longer after each message to a peer that failed, up to 10 s, and
// nothing shortens that wait: a node that was away for some seconds, and is back,
// would get no entries and hold no lease for as long again. So a message with
// entries does not fail while its sender leads: it is sent again until it gets
// through. It is one that may arrive more than once.
type carrier struct {
	*raft.NetworkTransport
	// wanted reports whether this node leads in term and id is one of the servers.
	wanted func(id raft.ServerID, term uint64) bool
	full   func() bool // this node's disk is; nil: never
	filled func()      // called when that is new
	has    matches     // has a lock of its own

	rpcs chan raft.RPC // incoming, over the network and from this node
	done chan struct{} // closed by Close
	once sync.Once
}

func newCarrier(t *raft.NetworkTransport, wanted func(raft.ServerID, uint64) bool, full func() bool, filled func()) *carrier {
	c := &carrier{NetworkTransport: t, wanted: wanted, full: full, filled: filled, rpcs: make(chan raft.RPC), done: make(chan struct{})}
	go c.receive()
	return c
}

func (t *carrier) receive() {
	var seen bool           // that the disk is full
	var taken, reserved int // bytes of changes since, and of those that take rights away
	for {
		select {
		case rpc := <-t.NetworkTransport.Consumer():
			if full := t.full != nil && t.full(); full != seen {
				if seen, taken, reserved = full, 0, 0; full {
					t.filled()
				}
			}
			if a, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && seen {
				n, r := changes(a.Entries)
				if taken, reserved = taken+n, reserved+r; taken > fullTakes || reserved > reserveTakes {
					rpc.Respond(nil, errDiskFull)
					continue
				}
			}
			select {
			case t.rpcs <- rpc:
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// errDiskFull is the answer to entries for which there is no space. The space that
// is left is for the entries that keep the cluster serving; the leader asks again.
// Its text is compared on the wire and must not change.
var errDiskFull = errors.New("the disk is full")

const (
	// fullTakes is how many bytes of changes a node takes after its disk has run
	// full: the leader must hear of it first. Otherwise the changes that it accepts
	// meanwhile cannot be committed where many disks fill together, and hold up
	// everything after them.
	fullTakes = 256 << 10
	// reserveTakes is the same for changes that take rights away, for which there is
	// space: as much as some leaders in a row take of them (replica.Reserved).
	reserveTakes = 1 << 20
	fullAgain    = time.Second // before entries are sent again to a node without space
)

// changes are the bytes of entries beyond those that keep a cluster serving, which
// are small: Raft's own and grants of months. reserved are those of small changes that
// take rights away, which are not among the others.
func changes(entries []*raft.Log) (n, reserved int) {
	for _, e := range entries {
		if e.Type != raft.LogCommand {
			continue
		}
		switch c, err := store.DecodeEntry(e.Data); {
		case err != nil:
			n += len(e.Data)
		case c.Vital():
		case replica.Reserved(c, len(e.Data)):
			reserved += len(e.Data)
		default:
			n += len(e.Data)
		}
	}
	return n, reserved
}

// Consumer implements [raft.Transport].
func (t *carrier) Consumer() <-chan raft.RPC { return t.rpcs }

// Deliver hands Raft a message that came by another way, and waits until it was
// looked at.
func (t *carrier) Deliver(ctx context.Context, command any) {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case t.rpcs <- raft.RPC{Command: command, RespChan: answer}:
	case <-t.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-answer:
	case <-t.done:
	case <-ctx.Done():
	}
}

// Close implements [raft.WithClose].
func (t *carrier) Close() error {
	t.once.Do(func() { close(t.done) })
	return t.NetworkTransport.Close()
}

// carryEvery is how often a message is tried.
const carryEvery = 50 * time.Millisecond

// carryBytes bounds the entries of a message by their bytes, where Raft bounds their
// number alone: 512 parts of an import are 40 MB and more, which a slow disk has to
// write before it answers. One entry may be larger, and goes alone.
const carryBytes = 1 << 20

// fitting is how many of the entries one message takes.
func fitting(entries []*raft.Log) int {
	size := 0
	for i, e := range entries {
		if size += len(e.Data); size > carryBytes && i > 0 {
			return i
		}
	}
	return len(entries)
}

// AppendEntries implements [raft.Transport]. What is too much for a message is sent in
// several, one after the other; the answer is the last one's.
func (t *carrier) AppendEntries(id raft.ServerID, at raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	part := *args
	for rest := args.Entries; ; {
		n := fitting(rest)
		part.Entries, rest = rest[:n], rest[n:]
		if err := t.carry(id, at, &part, resp); err != nil || len(rest) == 0 || !resp.Success {
			return err
		}
		last := part.Entries[n-1]
		part.PrevLogEntry, part.PrevLogTerm = last.Index, last.Term
		*resp = raft.AppendEntriesResponse{}
	}
}

// carry sends one message until it gets through.
func (t *carrier) carry(id raft.ServerID, at raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	heartbeat := args.PrevLogEntry == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
	for {
		err := t.NetworkTransport.AppendEntries(id, at, args, resp)
		if err == nil {
			t.has.note(id, args, resp)
			return nil
		}
		if heartbeat || !t.wanted(id, args.Term) {
			return err
		}
		pause := carryEvery
		if err.Error() == errDiskFull.Error() { // it comes over the wire as a text
			pause = fullAgain
		}
		<-time.After(pause)
	}
}

// timeoutNow tells a server to stand for election at once.
func (t *carrier) timeoutNow(self string, to raft.Server) error {
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(self), Addr: []byte(t.LocalAddr())}
	return t.TimeoutNow(to.ID, to.Address, &raft.TimeoutNowRequest{RPCHeader: header}, new(raft.TimeoutNowResponse))
}

// AppendEntriesPipeline implements [raft.Transport].
func (t *carrier) AppendEntriesPipeline(id raft.ServerID, at raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, at)
	if err != nil {
		return nil, err
	}
	out := &pipeline{
		AppendPipeline: p, out: make(chan raft.AppendFuture), done: make(chan struct{}),
		note: func(f raft.AppendFuture) { t.has.note(id, f.Request(), f.Response()) },
	}
	go out.run()
	return out, nil
}

// pipeline is Raft's own, closed after the first message that fails. Raft 1.8.0
// reads no further answer then, but may go on sending: the pipeline is full, it is
// never emptied, and the peer gets no entries any more. Nor does Raft ever stop.
type pipeline struct {
	raft.AppendPipeline
	out  chan raft.AppendFuture
	note func(raft.AppendFuture) // told of each answer
	done chan struct{}           // closed by Close
	once sync.Once
}

func (p *pipeline) run() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			failed := f.Error() != nil || !f.Response().Success
			if !failed {
				p.note(f)
			}
			select {
			case p.out <- f:
			case <-p.done:
				return
			}
			if failed {
				p.AppendPipeline.Close() // the sender gets an error
				return
			}
		case <-p.done:
			return
		}
	}
}

// AppendEntries implements [raft.AppendPipeline]. Entries that are too much for a message
// are taken out of it: Raft looks at it again afterwards, and goes on behind its last one.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	args.Entries = args.Entries[:fitting(args.Entries)]
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Consumer implements [raft.AppendPipeline].
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.out }

// Close implements [raft.AppendPipeline].
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.AppendPipeline.Close()
}
