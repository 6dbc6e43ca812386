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
