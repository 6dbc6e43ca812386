package cluster

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// led by a puppet, a node brings every call to it, once, and gives its answer back.
func TestCallsToTheLeader(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	p.leads()
	rv := wireRevocation{Index: 9, Effective: true, TookMS: 3, Nodes: []wireAck{{"n2", lease.Applied}}}
	want := rv.revocation()
	p.answers(callPropose, func([]byte) any {
		return wireReceipt{Result: store.Result{Index: 9}, Repeat: true, Revocation: rv}
	})
	key := replicatest.CreateKey(1)
	got, err := s.r.Propose(t.Context(), key)
	if err != nil || !got.Repeat || got.Index != 9 || !slices.Equal(got.Revocation.Nodes, want.Nodes) {
		t.Errorf("a proposal: %+v, %v", got, err)
	}
	if last := p.lastOf(callPropose); last != "waits=1 "+string(key.Encode()) {
		t.Errorf("it was sent as %q", last)
	}
	revoke := &store.Command{At: time.Now(), Actor: byOperator, Account: store.DefaultAccount, Change: &store.KeyRevoke{ID: replicatest.KeyID(1)}}
	if _, err := s.r.Propose(t.Context(), revoke); err != nil || !strings.HasPrefix(p.lastOf(callPropose), "takes=1&waits=1 ") {
		t.Errorf("a revocation: %q, %v", p.lastOf(callPropose), err)
	}
	if _, err := s.r.Propose(t.Context(), monthsAsked()); err != nil || !strings.HasPrefix(p.lastOf(callPropose), "grant=1 ") {
		t.Errorf("a grant: %q, %v", p.lastOf(callPropose), err)
	}
	p.answers(callManage, func([]byte) any { return rv })
	out, err := s.RemoveNode(t.Context(), "n9", true, byOperator)
	if err != nil || out.Index != 9 || p.lastOf(callManage) != ` {"remove":"n9","force":true,"actor":{"type":"operator","id":"op"}}` {
		t.Errorf("a removal: %+v, %v, %q", out, err, p.lastOf(callManage))
	}
	if err := s.TransferLeadership(t.Context(), "n1", false, byOperator); err != nil || p.lastOf(callManage) != ` {"transfer":true,"to":"n1","actor":{"type":"operator","id":"op"}}` {
		t.Errorf("a transfer: %v, %q", err, p.lastOf(callManage))
	}
	p.answers(callSettle, func([]byte) any { return rv })
	effective, nodes, err := s.Settle(t.Context(), 9, s.leadership.term.Load(), true)
	if err != nil || !effective || !slices.Equal(nodes, want.Nodes) || p.lastOf(callSettle) != ` {"index":9,"takes":true}` {
		t.Errorf("a write of the term before: %v, %v, %v, %q", effective, nodes, err, p.lastOf(callSettle))
	}
	p.answers(callRecall, func([]byte) any { return s.r.Store().Applied() })
	asks := []store.GrantAsk{{Account: store.DefaultAccount, Type: store.Live, Month: 7, Want: 5}}
	if err := s.Recall(t.Context(), asks); err != nil || p.lastOf(callRecall) != ` {"buckets":[{"account":"default","type":"live","month":7}]}` {
		t.Errorf("a recall: %v, %q", err, p.lastOf(callRecall))
	}
	for path, n := range map[string]int{callPropose: 3, callManage: 2, callSettle: 1, callRecall: 1} {
		if p.count(path) != n {
			t.Errorf("%s was called %d times, must be %d", path, p.count(path), n)
		}
	}
}

// A refusal of the leader keeps its reason here; a call that the leader has not taken is
// made again; a call without an answer has an unknown outcome and is not repeated.
func TestRefusalsOfTheLeader(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	p.leads()
	for _, c := range []struct {
		name   string
		answer any
		reason error
		text   string
	}{
		{"busy", replica.Refuse(replica.ErrBusy, nil), replica.ErrBusy, ""},
		{"a sentence", replica.Decline(replica.ErrTooLarge, "Too large."), replica.ErrTooLarge, "Too large."},
		{"a newer version's reason", rawAnswer{http.StatusOK, `{"fault":{"code":"new","message":"New."}}`}, replica.ErrUnknownOutcome, ""},
		{"a fault of the leader", rawAnswer{http.StatusInternalServerError, "oops"}, replica.ErrUnknownOutcome, ""},
		{"no JSON", rawAnswer{http.StatusOK, "oops"}, replica.ErrUnknownOutcome, ""},
	} {
		before := p.count(callPropose)
		p.answers(callPropose, func([]byte) any { return c.answer })
		_, err := s.r.Propose(t.Context(), replicatest.CreateKey(1))
		declined(t, c.name, err, c.reason, c.text)
		if n := p.count(callPropose) - before; n != 1 {
			t.Errorf("%s: offered %d times", c.name, n)
		}
	}
	before := p.count(callPropose)
	p.answers(callPropose, func([]byte) any {
		if p.count(callPropose)-before < 3 {
			return replica.ErrNotTaken
		}
		return wireReceipt{Result: store.Result{Index: 9}}
	})
	got, err := s.r.Propose(t.Context(), replicatest.CreateKey(1))
	if n := p.count(callPropose) - before; err != nil || got.Index != 9 || n != 3 {
		t.Errorf("not taken at first: %+v, %v after %d times", got, err, n)
	}
	// In a settled write nothing may read as not taken: it is in the log for good.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.answers(callSettle, func([]byte) any {
		if p.count(callSettle) == 3 { // asked again, twice
			cancel()
		}
		return replica.ErrNotTaken
	})
	_, _, err = s.Settle(ctx, 1, s.leadership.term.Load(), true)
	if !errors.Is(err, replica.ErrUnknownOutcome) || errors.Is(err, replica.ErrNotTaken) || p.count(callSettle) < 2 {
		t.Errorf("settled in vain: %v after %d times", err, p.count(callSettle))
	}
}

// A call that never reached the node, or another one answers at its address, has not
// been taken; one that broke on its way may have been.
func TestCallsThatFail(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	at := p.mesh.Advertise()
	try := func(ctx context.Context, id, path string) error {
		_, err := call[bool](ctx, s.mesh, at, id, path, nil)
		return err
	}
	p.answers("/x", func([]byte) any { return true })
	has(t, "a call", try(t.Context(), p.id, "/x"), "")
	if err := try(t.Context(), s.self.ID, "/x"); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("another node answers: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer := make(chan struct{})
	p.answers("/slow", func([]byte) any { cancel(); <-answer; return true })
	if err := try(ctx, p.id, "/slow"); !errors.Is(err, replica.ErrUnknownOutcome) || errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("no answer: %v", err)
	}
	close(answer)
	if err := try(t.Context(), p.id, "/unknown"); !errors.Is(err, replica.ErrUnknownOutcome) {
		t.Errorf("a call that an older version does not know: %v", err)
	}
	stranger := s.puppet("n3")
	if _, err := call[bool](t.Context(), stranger.mesh, at, p.id, "/x", nil); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("without a certificate: %v", err)
	}
	other := s.joined("n4") // has no connection whose end could go unnoticed
	p.mesh.Close()
	if _, err := call[bool](t.Context(), other.mesh, at, p.id, "/x", nil); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("the node is down: %v", err)
	}
}

// A read is linear once this node has applied the leader's index, and is asked again
// where it failed.
func TestLinearizeAtAFollower(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	if err := s.Linearize(t.Context()); err != nil {
		t.Errorf("at the leader: %v", err)
	}
	p := s.joined("n2")
	p.leads()
	applied := s.r.Store().Applied()
	first := true
	p.answers(callRead, func([]byte) any {
		if first {
			first = false
			return errors.New("oops")
		}
		return applied
	})
	if err := s.Linearize(t.Context()); err != nil || p.count(callRead) != 2 {
		t.Errorf("at a follower: %v after %d calls", err, p.count(callRead))
	}
	p.answers(callRead, func([]byte) any { return applied + 1 })
	// The leader's answer must come before the time is over, which may take longer under load.
	for limit := 50 * time.Millisecond; ; limit *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := s.Linearize(ctx)
		cancel()
		if errors.Is(err, replica.ErrUnavailable) {
			break
		}
		if limit > time.Minute {
			t.Fatalf("an index that is never reached: %v", err)
		}
	}
}

// The status is the leader's, with this node's own reason; without a leader's answer it
// is this node's own view.
func TestStatusAtAFollower(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	s.joined("n3")
	p.leads()
	p.answers(callStatus, func([]byte) any {
		return wireStatus{ClusterID: "c1", Leader: "n2", Term: 7, Healthy: true, Nodes: []wireNodeStatus{{Name: "n2", Role: "leader"}}}
	})
	got := s.Status(t.Context())
	if got.Leader != "n2" || got.Term != 7 || len(got.Nodes) != 1 || !got.Healthy || len(got.Reasons) != 0 {
		t.Errorf("the leader's: %+v", got)
	}
	why := "it reaches nobody"
	s.diagnosis.reason.Store(&why)
	if got = s.Status(t.Context()); got.Healthy || !slices.Equal(got.Reasons, []string{"n1: it reaches nobody"}) {
		t.Errorf("with a reason of this node's: %+v", got)
	}
	// A leader of an older version, or one that leads no more.
	for name, v := range map[string]any{"empty": wireStatus{}, "refused": replica.ErrNotTaken} {
		p.answers(callStatus, func([]byte) any { return v })
		s.holder.changed.Store(s.Clock.Now() - int64(time.Minute))
		s.peers.living.Store(&map[string]meta{p.id: {"n2", p.mesh.Advertise()}})
		got = s.Status(t.Context())
		want := []string{"no leader: a majority of the voters is not in contact", "n3: not heard of", "n1: it reaches nobody"}
		if got.Healthy || got.Leader != "" || !slices.Equal(got.Reasons, want) || len(got.Nodes) != 3 {
			t.Fatalf("%s: %+v", name, got)
		}
		states := []string{replica.StateStarting, replica.StateStarting, replica.StateUnreachable} // n1 holds no lease, n2 is alive by gossip
		for i, n := range got.Nodes {
			if n.State != states[i] || (n.LeaseMS != nil) != (i == 0) || (n.LastContactMS == -1) != (i > 0) {
				t.Errorf("%s: %+v", name, n)
			}
		}
	}
	// Right after a change of leader the new one is asked again.
	s.diagnosis.reason.Store(nil)
	s.holder.changed.Store(s.Clock.Now())
	before := p.count(callStatus)
	p.answers(callStatus, func([]byte) any {
		if p.count(callStatus)-before < 3 {
			return replica.ErrNotTaken
		}
		return wireStatus{ClusterID: "c1", Leader: "n2", Healthy: true}
	})
	if got = s.Status(t.Context()); got.Leader != "n2" || !got.Healthy {
		t.Errorf("after a change of leader: %+v", got)
	}
}
