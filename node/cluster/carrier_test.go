package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// transport is one of Raft's on a port of its own.
func transport(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	tr, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 10*time.Second, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// Raft reads no more answers from a pipeline in which a message failed, and may
// send once or twice more before it looks: that must not block it.
func TestPipelineEndsBehindAFailure(t *testing.T) {
	t.Parallel()
	leader, follower := transport(t), transport(t)
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{}, nil) // no success
			case <-t.Context().Done():
				return
			}
		}
	}()
	c := newCarrier(leader, nil, nil, nil)
	p, err := c.AppendEntriesPipeline("f", follower.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, new(raft.AppendEntriesResponse)); err != nil {
		t.Fatal(err)
	}
	<-p.Consumer()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, new(raft.AppendEntriesResponse)); err != nil {
				return
			}
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("a message is stuck in the pipeline behind one that failed")
	}
}

// A message has no more entries than a slow disk can write at once: further ones follow
// it. A large entry goes alone.
func TestMessagesAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	leader, follower := transport(t), transport(t)
	got := make(chan *raft.AppendEntriesRequest, 100)
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				args := rpc.Command.(*raft.AppendEntriesRequest)
				got <- args
				rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true, LastLog: args.PrevLogEntry + uint64(len(args.Entries))}, nil)
			case <-t.Context().Done():
				return
			}
		}
	}()
	const half = carryBytes/2 - 100
	backlog := func() *raft.AppendEntriesRequest {
		args := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 10, PrevLogTerm: 3, LeaderCommitIndex: 12}
		for i, size := range []int{half, half, 1, 100, 2 * carryBytes, half, half, 1000} {
			args.Entries = append(args.Entries, &raft.Log{Index: 11 + uint64(i), Term: 4, Data: make([]byte, size)})
		}
		return args
	}
	c := newCarrier(leader, func(raft.ServerID, uint64) bool { return true }, nil, nil)
	args, resp := backlog(), new(raft.AppendEntriesResponse)
	if err := c.AppendEntries("f", follower.LocalAddr(), args, resp); err != nil || !resp.Success || resp.LastLog != 18 || len(args.Entries) != 8 {
		t.Fatalf("%v, %+v, %d entries", err, resp, len(args.Entries))
	}
	next, term := uint64(11), uint64(3)
	for _, want := range []int{4, 1, 2, 1} {
		m := <-got
		if len(m.Entries) != want || m.PrevLogEntry != next-1 || m.PrevLogTerm != term || m.LeaderCommitIndex != 12 || m.Entries[0].Index != next {
			t.Fatalf("a message after %d of term %d has %d entries, want %d after %d of term %d", m.PrevLogEntry, m.PrevLogTerm, len(m.Entries), want, next-1, term)
		}
		next, term = next+uint64(want), 4
	}
	if has := c.has.of("f", 7); has != 18 {
		t.Errorf("the server has the log up to %d", has)
	}
	p, err := c.AppendEntriesPipeline("f", follower.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	args = backlog()
	if _, err := p.AppendEntries(args, new(raft.AppendEntriesResponse)); err != nil || len(args.Entries) != 4 {
		t.Errorf("%v; Raft goes on after %d entries", err, len(args.Entries))
	}
	if m := <-got; len(m.Entries) != 4 {
		t.Errorf("a message of the pipeline has %d entries", len(m.Entries))
	}
}

// What a follower refuses is not followed by more.
func TestRefusedPartEndsTheMessage(t *testing.T) {
	t.Parallel()
	leader, follower := transport(t), transport(t)
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				args := rpc.Command.(*raft.AppendEntriesRequest)
				rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: args.PrevLogEntry == 10, LastLog: 11}, nil)
			case <-t.Context().Done():
				return
			}
		}
	}()
	args := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 10}
	for i := range 3 {
		args.Entries = append(args.Entries, &raft.Log{Index: 11 + uint64(i), Term: 4, Data: make([]byte, carryBytes)})
	}
	c := newCarrier(leader, nil, nil, nil)
	resp := new(raft.AppendEntriesResponse)
	if err := c.AppendEntries("f", follower.LocalAddr(), args, resp); err != nil || resp.Success {
		t.Errorf("%v, %+v", err, resp)
	}
	if has := c.has.of("f", 7); has != 11 {
		t.Errorf("the server has the log up to %d", has)
	}
}
