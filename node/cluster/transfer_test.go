package cluster

import (
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
)

// A voter that is paused accepts connections and answers nothing. Transfers to it, again
// and again, are refused, or end in time if they are forced; writes are taken after each of
// them, and once it runs again it can lead.
func TestTransferToAPausedVoter(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p, other := s.voter("n2"), s.voter("n3")
	p.present()
	other.present()
	s.until("n2 to have the log", func() bool { return s.leadership.behind(raft.ServerID(p.id)) == 0 })
	const slack = 30 * time.Second // for a loaded machine; a wait without an end would last for minutes
	p.running.Lock()
	resume := sync.OnceFunc(p.running.Unlock)
	defer resume()
	for range 3 {
		began := time.Now()
		declined(t, "to a paused voter", s.TransferLeadership(t.Context(), "n2", false, byOperator), replica.ErrWouldLoseQuorum,
			"n2 does not answer within 1s; a leader must be in contact with a majority.")
		if took := time.Since(began); took < contactWait || took > transferWait+slack {
			t.Errorf("the refusal took %v", took)
		}
		began = time.Now()
		declined(t, "forced to a paused voter", s.TransferLeadership(t.Context(), "n2", true, byOperator), replica.ErrUnavailable,
			"n2 has not got the whole log in time; n1 still leads.")
		if took := time.Since(began); took > transferWait+slack {
			t.Errorf("the forced transfer took %v", took)
		}
		if _, err := s.r.Confirm(t.Context()); err != nil || !s.r.Leads() {
			t.Fatalf("n1 does not take writes after the transfer: %v", err)
		}
	}
	if len(p.timeouts) != 0 {
		t.Error("it was asked to stand for election")
	}
	resume()
	s.until("n2 to catch up", func() bool { return s.leadership.behind(raft.ServerID(p.id)) == 0 })
	defer p.takesOver()()
	if err := s.TransferLeadership(t.Context(), "n2", false, byOperator); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}
