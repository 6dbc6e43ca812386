package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// renewals are those that were granted and refused.
func (s *stage) renewals() (granted, refused float64) {
	got := figures(s.t, s.metrics.renewals)
	return got["perfgate_cluster_lease_renewals_total granted"], got["perfgate_cluster_lease_renewals_total refused"]
}

// A node serves while it holds a lease, which the leader gives to itself as to others,
// and is ready unless something else is wrong.
func TestServingByTheLease(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Lease = time.Minute })
	has(t, "without a lease", s.Ready(), "the node holds no serving lease")
	if s.Serving() || s.Alone() || s.holder.state() != replica.StateStarting {
		t.Error("it serves without a lease")
	}
	for range 2 {
		s.holder.renew(t.Context())
		if !s.Serving() || s.Alone() || s.holder.state() != replica.StateReady || s.Ready() != nil {
			t.Fatalf("with a lease: %v\n%s", s.Ready(), s.log.String())
		}
	}
	if g, r := s.renewals(); g != 2 || r != 0 || s.log.Count(`msg="this node serves" leader=n1`) != 1 {
		t.Errorf("%v granted, %v refused\n%s", g, r, s.log.String())
	}
	if left := s.holder.lease.Left(s.Clock.Now()); left <= 0 || left > time.Minute {
		t.Errorf("the lease lasts %v", left)
	}
	s.Clock.SetWrong(month)
	has(t, "a wrong clock", s.Ready(), "the node")
	for _, ahead := range []time.Duration{month, 2 * time.Second, -2 * time.Second, 0} {
		if s.Clock.SetWrong(ahead); !s.Serving() {
			t.Errorf("a wall clock set by %v ends the lease", ahead)
		}
	}
	s.Expect = 3
	if err := s.founding.begin(datadir.Founded); err != nil {
		t.Fatal(err)
	}
	has(t, "while it is founded", s.Ready(), "the cluster has 1 of 3 voters (cluster.expect)")
	s.Draining = func() bool { return true }
	if s.holder.state() != replica.StateDraining {
		t.Errorf("when it stops it is %s", s.holder.state())
	}
	s.holder.leave(t.Context())
	s.holder.renew(t.Context())
	if g, _ := s.renewals(); s.Serving() || g != 2 {
		t.Error("it asks for a lease after it has left")
	}
	if _, err := s.leadership.grant(t.Context(), s.holder.selfReport(s.Clock.Wall())); err == nil {
		t.Error("the leader gives it another one")
	}
}

// A node may be sent the entry of its own removal. No write waits for its lease once
// it has reported the entry, so it must not serve from then on, and it ends.
func TestRemovedNodeServesNoMore(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		s := opened(t, func(c *Config) { c.Lease, c.Stale = time.Minute, stale })
		for range 3 { // the record of the node, which says whether it serves without a lease, comes first
			s.holder.renew(t.Context())
		}
		if !s.Serving() {
			t.Fatal("it does not serve with a lease")
		}
		ctx, cancel := context.WithCancel(t.Context())
		removal, answered := &store.MemberRemove{ID: s.self.ID, Gossip: make([]byte, gossipKeySize)}, make(chan struct{})
		go func() { // its answer waits for the leases of earlier terms
			defer close(answered)
			_, _ = s.r.Write(ctx, &store.Command{At: s.Clock.Wall(), Account: store.DefaultAccount, Change: removal})
		}()
		s.until("the removal is applied", func() bool { return s.r.Store().Removed(s.self.ID) })
		s.holder.selfReport(s.Clock.Wall())
		if s.Serving() || s.Alone() {
			t.Errorf("stale %v: serving %v, alone %v after it has reported its removal", stale, s.Serving(), s.Alone())
		}
		has(t, "after its removal", s.Ready(), "this node was removed from the cluster")
		s.ends.Store(true)
		bounded, end := context.WithTimeout(t.Context(), time.Minute) // a test that fails must end
		s.diagnosis.run(bounded)
		end()
		cancel()
		<-answered
		has(t, "the end of the node", s.r.Failed(), "this node was removed from the cluster")
	}
}

// A node that is to serve on without a lease does so once it has served and every later
// leader knows it.
func TestServingOnWithoutALease(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Stale, c.Lease = true, time.Minute })
	serves := func(what string, on bool) {
		t.Helper()
		s.holder.lease = lease.Lease{} // as if it had run out
		if s.Serving() != on || s.Alone() != on {
			t.Errorf("%s: serving %v, alone %v", what, s.Serving(), s.Alone())
		}
	}
	s.holder.renew(t.Context())
	serves("after its first lease", false)
	s.holder.renew(t.Context())
	serves("before its record says so", false)
	s.open()
	s.holder.renew(t.Context())
	if s.Alone() {
		t.Error("alone, though it holds a lease")
	}
	serves("after a lease that its record came before", true)
	if s.holder.state() != replica.StateReady {
		t.Errorf("it says that it is %s", s.holder.state())
	}
}

// A follower asks its leader, takes its lease, and logs the reason once if it gets
// none. It asks again at once where the other did not lead.
func TestRenewalsAtAFollower(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Lease = time.Minute })
	p := s.joined("n2")
	p.leads()
	p.answers(callRenew, func([]byte) any { return replica.Decline(replica.ErrForbidden, "Removed.") })
	for range 2 {
		s.holder.renew(t.Context())
	}
	if s.Serving() || s.log.Count(`msg="the leader gives this node no serving lease" reason=Removed.`) != 1 {
		t.Error(s.log.String())
	}
	for len(s.holder.kick) > 0 {
		<-s.holder.kick
	}
	p.answers(callRenew, func([]byte) any { return replica.ErrNotTaken })
	s.holder.renew(t.Context())
	<-s.holder.kick // the next one is due
	if g, r := s.renewals(); g != 0 || r != 3 {
		t.Errorf("%v granted, %v refused", g, r)
	}
	wall := s.Clock.Wall().Add(-time.Hour)
	p.answers(callRenew, func([]byte) any { return renewed{Wall: wall, ClockLow: wall, ClockHigh: wall} })
	s.holder.renew(t.Context())
	if !s.Serving() || s.log.Count(`msg="this node serves" leader=n2`) != 1 {
		t.Error(s.log.String())
	}
	last := p.lastOf(callRenew)
	if !strings.Contains(last, `"id":"`+s.self.ID+`"`) || !strings.Contains(last, `"name":"n1"`) || !strings.Contains(last, `"lease":60000000000`) {
		t.Errorf("it reports %s", last)
	}
	if off := s.clocks.off(); (off-time.Hour).Abs() > time.Minute || s.Ready() == nil {
		t.Errorf("by the leader's median it is off by %v; ready: %v", off, s.Ready())
	}
	if s.log.Count("this machine's clock differs from the leader's") != 1 {
		t.Error(s.log.String())
	}
	// It gives the lease back when it stops.
	p.answers(callReport, func([]byte) any { return true })
	s.holder.leave(t.Context())
	if s.Serving() || !strings.Contains(p.lastOf(callReport), `"left":true`) {
		t.Errorf("serving %v, reported %s", s.Serving(), p.lastOf(callReport))
	}
}

// The applied index is reported until the leader has taken it, and not where the answer
// to a notice has done so.
func TestReportsOfTheAppliedIndex(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	p.leads()
	applied := s.r.Store().Applied()
	p.answers(callReport, func([]byte) any {
		if p.count(callReport) < 3 {
			return replica.ErrNotTaken
		}
		return true
	})
	s.begin(s.holder.sendReports)
	s.until("the third report", func() bool { return p.count(callReport) == 3 })
	want := encode(&report{Boot: s.self.Boot, Term: s.currentTerm(), Applied: applied})
	if got := p.lastOf(callReport); got != " "+string(want) {
		t.Errorf("%s, must be %s", got, want)
	}
	err := s.holder.report(t.Context(), report{})
	if err != nil || p.count(callReport) != 4 {
		t.Errorf("after %d reports: %v", p.count(callReport), err)
	}
}

// As the leader, a node reports to itself; without a leader a report is not taken.
func TestReportToItself(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	rep := report{Boot: s.self.Boot, Term: s.leadership.term.Load(), Applied: 77}
	if err := s.holder.report(t.Context(), rep); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.leadership.table.Status(s.Clock.Now()) {
		if h.ID == s.self.ID && h.Rep != 77 {
			t.Errorf("%+v", h)
		}
	}
	replicaStops(t, s)
	if err := s.holder.report(t.Context(), rep); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("without a leader: %v", err)
	}
	before, refused := s.renewals()
	s.holder.renew(t.Context())
	if g, r := s.renewals(); g != before || r != refused || s.Serving() {
		t.Error("a renewal without a leader was counted")
	}
}

// A node meets every new leader: it logs it, and asks for a lease at once.
func TestLeadersAreMet(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	s.begin(s.holder.meetLeaders)
	const line = `msg="the cluster has a new leader" node=`
	s.until("this node to be met", func() bool { return s.log.Count(line+"n1") == 1 })
	for len(s.holder.kick) > 0 {
		<-s.holder.kick
	}
	before := s.holder.changed.Load()
	p.leads()
	s.until("the new leader to be met", func() bool { return s.log.Count(line+"n2") == 1 })
	<-s.holder.kick
	if s.holder.changed.Load() <= before {
		t.Error("the time of the change is the old one")
	}
}

// With renewals under way a node serves within a moment, on and on.
func TestRenewalsGoOn(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Lease = 10 * time.Second })
	s.begin(s.holder.renewals)
	s.until("the node to serve", s.Serving)
	granted, _ := s.renewals()
	s.holder.poke()
	s.until("another lease", func() bool { g, _ := s.renewals(); return g > granted })
	got, err := s.r.Write(t.Context(), replicatest.CreateKey(1))
	if err != nil || !slices.Equal(got.Revocation.Nodes, []replica.Ack{{Name: "n1", How: "applied"}}) {
		t.Errorf("a write: %+v, %v", got.Revocation, err)
	}
}
