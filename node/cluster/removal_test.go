package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

var byOperator = store.Actor{Type: store.ActorOperator, ID: "op"}

// declined fails unless err is a refusal with the reason and the sentence.
func declined(t *testing.T, what string, err, reason error, sentence string) {
	t.Helper()
	var e *replica.Error
	if !errors.As(err, &e) || !errors.Is(e.Reason, reason) || e.Message != sentence {
		t.Errorf("%s: %v, must be %v: %s", what, err, reason, sentence)
	}
}

// present makes the puppet answer the question whether it is there.
func (p *puppet) present() { p.answers(callStatus, func([]byte) any { return wireStatus{} }) }

// inContact makes a change that asks other nodes whether they are there, again if they
// answer too late: on a loaded machine they may, and nothing is changed then.
func inContact(change func() error) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		var e *replica.Error
		err := change()
		if !errors.As(err, &e) || !errors.Is(e.Reason, replica.ErrWouldLoseQuorum) || time.Now().After(deadline) {
			return err
		}
	}
}

// A removed node is neither server nor member, its report is dropped, and the gossip
// key that it knows is replaced.
func TestRemoval(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Lease = 10 * time.Second }) // longer than a loaded machine takes
	p := s.voter("n2")
	p.hears(nil)
	p.present()
	key := s.r.Store().Trust().Gossip[0]
	s.begin(s.holder.renewals)
	s.until("a lease of n1, which the write waits for", s.Serving)
	var out replica.Revocation
	err := inContact(func() (err error) {
		out, err = s.RemoveNode(t.Context(), "n2", false, byOperator)
		return err
	})
	if err != nil || !out.Effective || out.Index == 0 || len(out.Nodes) != 1 || out.Nodes[0] != (replica.Ack{Name: "n1", How: "applied"}) {
		t.Fatalf("%+v, %v", out, err)
	}
	if s.isServer(p.id) || !s.r.Store().Removed(p.id) {
		t.Error("it is still there")
	}
	if _, heard := s.leadership.reports.of(p.id); heard {
		t.Error("its report is kept")
	}
	if now := s.r.Store().Trust().Gossip[0]; bytes.Equal(now, key) || len(now) != gossipKeySize {
		t.Error("the gossip key is the one that it knows")
	}
	if s.log.Count(`msg="a node was removed" node=n2`) != 1 {
		t.Error(s.log.String())
	}
	_, err = s.RemoveNode(t.Context(), "n2", false, byOperator)
	declined(t, "again", err, replica.ErrNotFound, `There is no node "n2" in this cluster.`)
	_, err = s.RemoveNode(t.Context(), "n1", true, byOperator)
	declined(t, "the leader", err, replica.ErrConflict, "n1 leads the cluster; transfer the leadership first, or stop it.")
}

// A removal that leaves no majority in contact is refused with the names of the nodes
// that do not answer, and made with force. A node is there if it answers anything.
func TestRemovalNeedsAMajority(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	gone, stays := s.voter("n2"), s.voter("n3")
	last := s.r.LastIndex()
	_, err := s.RemoveNode(t.Context(), "n2", false, byOperator) // n3 answers 404: it is there
	if err != nil {
		t.Fatal(err)
	}
	if s.r.LastIndex() == last || s.isServer(gone.id) {
		t.Error("nothing was changed")
	}
	silent := s.voter("n4")
	block := make(chan struct{})
	defer close(block)
	stays.answers(callStatus, func([]byte) any { <-block; return nil })
	last = s.r.LastIndex()
	_, err = s.RemoveNode(t.Context(), "n4", false, byOperator)
	declined(t, "of the two that are left one does not answer", err, replica.ErrWouldLoseQuorum,
		"Without n4, only 1 of 2 voters would be in contact, which is no majority; no answer from n3. Start that node or remove it first, or repeat with force=true.")
	if s.r.LastIndex() != last || !s.isServer(silent.id) {
		t.Error("something was changed all the same")
	}
	if _, err := s.RemoveNode(t.Context(), "n4", true, byOperator); err != nil || s.isServer(silent.id) || !s.r.Store().Removed(silent.id) {
		t.Errorf("with force: %v", err)
	}
}

// The vote goes first. If the rest fails, the outcome is unknown, so that nobody
// repeats the call somewhere else, and the reconciler ends it.
func TestRemovalThatStopsHalfway(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	m, _ := s.r.Store().Member(s.joined("n2").id)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.membership.remove(stopped, m, byOperator)
	if !errors.Is(err, replica.ErrUnknownOutcome) || errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("%v", err)
	}
	s.until("the vote to be gone", func() bool { return !s.isServer(m.ID) })
	// The entry of that removal may be committed or not. This one stops before it.
	p := s.joined("n3")
	if err := s.r.Raft().RemoveServer(raft.ServerID(p.id), 0, changeWait).Error(); err != nil {
		t.Fatal(err)
	}
	s.until("the vote to be gone", func() bool { return !s.isServer(p.id) })
	// The reconciler waits, since a node that joins is a member before it is a server.
	step := func(what string, removed bool) {
		t.Helper()
		if err := s.reconciler.finishRemovals(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if s.r.Store().Removed(p.id) != removed {
			t.Errorf("%s: removed %v", what, !removed)
		}
	}
	step("at first", false)
	s.reconciler.orphans[p.id] -= int64(orphanAfter) - int64(10*time.Second)
	step("shortly before its time", false)
	s.reconciler.orphans[p.id] -= int64(orphanAfter)
	s.membership.joins.Lock()
	step("while a node is admitted", false)
	s.membership.joins.Unlock()
	step("after its time", true)
}

// A member that is a server again is no orphan any more, and never was this node.
func TestOrphansComeBack(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	s.reconciler.orphans[p.id], s.reconciler.orphans[s.self.ID] = 1, 1 // long ago
	if err := s.reconciler.finishRemovals(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.reconciler.orphans) != 0 || len(s.r.Store().RemovedMembers()) != 0 {
		t.Errorf("orphans %v, removed %v", s.reconciler.orphans, s.r.Store().RemovedMembers())
	}
}

// Transfers to the wrong node are refused with the reason, at once and without any
// effect.
func TestTransferTargets(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	declined(t, "alone", s.TransferLeadership(t.Context(), "", false, byOperator), replica.ErrConflict, "No other node has a vote.")
	s.joined("n4")
	declined(t, "to the only other one, which has no vote", s.TransferLeadership(t.Context(), "n4", false, byOperator), replica.ErrConflict, "No other node has a vote.")
	p, q := s.voter("n2"), s.voter("n3")
	declined(t, "without a vote", s.TransferLeadership(t.Context(), "n4", false, byOperator), replica.ErrConflict, "n4 is not a voter yet.")
	declined(t, "unknown", s.TransferLeadership(t.Context(), "n9", true, byOperator), replica.ErrNotFound, `There is no node "n9" in this cluster.`)
	if err := s.TransferLeadership(t.Context(), "n1", false, byOperator); err != nil {
		t.Errorf("to itself: %v", err)
	}
	p.mesh.Close()
	declined(t, "to one that is down", s.TransferLeadership(t.Context(), "n2", false, byOperator), replica.ErrWouldLoseQuorum,
		"n2 does not answer within 1s; a leader must be in contact with a majority.")
	// The best target is in contact, and has most of the log.
	voters := votersWithout(s.servers(), s.self.ID)
	best := func(reached ...*puppet) (raft.Server, error) {
		there := map[raft.ServerID]bool{}
		for _, r := range reached {
			there[raft.ServerID(r.id)] = true
		}
		return s.leadership.bestOf(voters, there)
	}
	term, last := s.currentTerm(), s.r.LastIndex()
	m := &s.leadership.carrier.has
	m.mu.Lock()
	m.term, m.index = term, map[raft.ServerID]uint64{raft.ServerID(p.id): last - 1, raft.ServerID(q.id): last}
	m.mu.Unlock()
	if b, err := best(p, q); err != nil || string(b.ID) != q.id {
		t.Errorf("the best is %v, %v", b.ID, err)
	}
	if b, err := best(p); err != nil || string(b.ID) != p.id {
		t.Errorf("the best in contact is %v, %v", b.ID, err)
	}
	_, err := best()
	declined(t, "nobody in contact", err, replica.ErrWouldLoseQuorum, "No other voter answers within 1s.")
	if !s.r.Leads() || len(p.timeouts)+len(q.timeouts) != 0 {
		t.Error("a refusal had an effect")
	}
}

// A target that lags by more than transferLag entries is declined, with their number, and
// nothing is changed.
func TestTransferToOneThatLags(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p, q := s.voter("n2"), s.voter("n3")
	p.present()
	q.present()
	p.deaf.Store(true) // its log stays where it is
	for s.r.LastIndex() <= transferLag {
		if err := s.r.Raft().Barrier(0).Error(); err != nil {
			t.Fatal(err)
		}
	}
	term, last := s.currentTerm(), s.r.LastIndex()
	m := &s.leadership.carrier.has
	for behind, want := range map[uint64]bool{transferLag: true, transferLag + 1: false} {
		m.mu.Lock()
		m.term, m.index = term, map[raft.ServerID]uint64{raft.ServerID(p.id): last - behind, raft.ServerID(q.id): last}
		m.mu.Unlock()
		var target raft.Server
		err := inContact(func() (err error) {
			target, err = s.leadership.target(t.Context(), "n2", false)
			return err
		})
		if want {
			if err != nil || string(target.ID) != p.id {
				t.Errorf("%d entries behind: %v, %v", behind, target.ID, err)
			}
			continue
		}
		declined(t, "one that lags", err, replica.ErrConflict, fmt.Sprintf("n2 is %d entries behind; wait until it has caught up.", behind))
		err = inContact(func() error { return s.TransferLeadership(t.Context(), "n2", false, byOperator) })
		declined(t, "one that lags", err, replica.ErrConflict, fmt.Sprintf("n2 is %d entries behind; wait until it has caught up.", behind))
	}
	if s.r.LastIndex() != last || !s.r.Leads() || len(p.timeouts) != 0 {
		t.Error("a refusal had an effect")
	}
}

// The target is told to stand for election once it has the whole log, no entry is taken
// meanwhile, and the transfer ends when it leads.
func TestTransfer(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.voter("n2")
	p.present()
	done := make(chan error, 1)
	go func() {
		done <- inContact(func() error { return s.TransferLeadership(t.Context(), "n2", false, byOperator) })
	}()
	<-p.timeouts
	if s.leadership.behind(raft.ServerID(p.id)) != 0 {
		t.Error("it was asked before it had the log")
	}
	if _, ok := s.r.Hold(); ok {
		t.Error("entries are taken during the transfer")
	}
	declined(t, "a second transfer", s.leadership.transfer(t.Context(), "n2", true), replica.ErrConflict, "The leadership is being transferred already.")
	p.leads()
	if err := <-done; err != nil {
		t.Error(err)
	}
	release, ok := s.r.Hold()
	if !ok {
		t.Fatal("the hold was not released")
	}
	release()
}

// A target that does not take over, or does not get the log, leaves the leadership where
// it was, and writes are taken again.
func TestTransferThatFails(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p, other := s.voter("n2"), s.voter("n3")
	p.present()
	other.present()
	began := time.Now()
	err := s.TransferLeadership(t.Context(), "n2", false, byOperator)
	declined(t, "it does not stand for election", err, replica.ErrUnavailable, "n2 has not taken over in time; n1 still leads.")
	var e *replica.Error
	if errors.As(err, &e) && e.RetryAfter != replica.RetryAfter {
		t.Errorf("the hint is %d", e.RetryAfter)
	}
	if took := time.Since(began); took < transferWait {
		t.Errorf("it was given only %v", took)
	}
	p.deaf.Store(true)
	s.until("it to lack entries", func() bool {
		if _, err := s.r.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.leadership.behind(raft.ServerID(p.id)) > 0
	})
	declined(t, "it does not get the log", s.leadership.transfer(t.Context(), "n2", true), replica.ErrUnavailable, "n2 has not got the whole log in time; n1 still leads.")
	if _, err := s.r.Confirm(t.Context()); err != nil || !s.r.Leads() {
		t.Errorf("n1 does not go on: %v", err)
	}
}

// A node that stops hands over its leadership, and logs the reason if it cannot.
func TestHandOver(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	s.HandOver()
	if s.log.Count("leadership was not handed over") != 1 || s.log.Count("No other node has a vote.") != 1 {
		t.Error(s.log.String())
	}
	p := s.voter("n2")
	p.present()
	defer p.takesOver()()
	s.HandOver()
	if id, _, _ := s.peers.leader(); string(id) != p.id {
		t.Errorf("%q leads", id)
	}
	s.HandOver() // a follower has nothing to hand over
	if s.log.Count("leadership was not handed over") != 1 {
		t.Error(s.log.String())
	}
}

// The leadership of a node with a wrong clock goes to a voter with a right one, whatever
// the others report.
func TestStepAside(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	wrong, silent, nonvoter, right := s.voter("n2"), s.voter("n3"), s.joined("n4"), s.voter("n5")
	for _, p := range []*puppet{wrong, silent, nonvoter, right} {
		p.present()
	}
	wall, mono := s.Clock.Read()
	now := wall.UnixNano() - mono + int64(month)
	s.clocks.truth.Store(&median{now, now}) // n1 is a month behind
	s.leadership.reports.reset()
	wrong.hears(nil)
	nonvoter.hears(func(f *selfReport) { f.Wall = f.Wall.Add(month) })
	err := s.leadership.stepAside(t.Context())
	has(t, "no voter with a right clock", err, "no voter with a right clock and a good disk has taken over")
	right.hears(func(f *selfReport) { f.Wall, f.Full = f.Wall.Add(month), true })
	err = s.leadership.stepAside(t.Context())
	has(t, "a voter without space", err, "no voter with a right clock and a good disk has taken over")
	right.hears(func(f *selfReport) { f.Wall, f.Rotten = f.Wall.Add(month), true })
	err = s.leadership.stepAside(t.Context())
	has(t, "a voter with a damaged state", err, "no voter with a right clock and a good disk has taken over")
	right.hears(func(f *selfReport) { f.Wall = f.Wall.Add(month + time.Second) })
	defer right.takesOver()()
	if err := s.leadership.stepAside(t.Context()); err != nil {
		t.Error(err)
	}
	for _, p := range []*puppet{wrong, silent, nonvoter} {
		if len(p.timeouts) > 0 {
			t.Errorf("%s was asked to lead", p.name)
		}
	}
}

// A server that is being given a vote counts as one without, until that is certain.
func TestPromotion(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	other, p := s.voter("n2"), s.joined("n3")
	other.deaf.Store(true)
	p.deaf.Store(true) // of three voters they are two: nothing is committed without one
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.leadership.promote(ctx, raft.ServerID(p.id), raft.ServerAddress(p.mesh.Advertise())) }()
	s.until("the configuration to have the vote", func() bool { return s.server(p.id).Suffrage == raft.Voter })
	m, _ := s.r.Store().Member(p.id)
	if got := s.status.describe(m, s.servers()).Role; got != "nonvoter" {
		t.Errorf("before it is committed: %s", got)
	}
	if len(s.r.CommittedServers()) != 0 {
		t.Error("a configuration that is not committed counts")
	}
	cancel() // nobody waits, and the answer still comes
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	other.deaf.Store(false)
	s.until("the vote to be certain", func() bool { return s.status.describe(m, s.servers()).Role == "voter" })
	s.until("the configuration to be committed", func() bool { return len(s.r.CommittedServers()) == 3 })
	names := []string{}
	for _, v := range votersWithout(s.servers(), "") {
		names = append(names, s.nameOf(string(v.ID)))
	}
	if slices.Sort(names); strings.Join(names, " ") != "n1 n2 n3" {
		t.Errorf("voters: %v", names)
	}
}
