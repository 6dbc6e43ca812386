package cluster

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
)

// A server with another address is brought to it with the suffrage that it has, and its
// record follows.
func TestServerThatMoved(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	voter, nonvoter := s.voter("n2"), s.joined("n3")
	for p, addr := range map[*puppet]string{voter: "127.0.0.1:1", nonvoter: "127.0.0.1:2"} {
		before := s.server(p.id)
		p.hears(func(f *selfReport) { f.Address = addr })
		if err := s.reconciler.reconcileServer(t.Context(), before, map[string]int64{}); err != nil {
			t.Fatal(err)
		}
		now := s.server(p.id)
		if m, _ := s.r.Store().Member(p.id); string(now.Address) != addr || now.Suffrage != before.Suffrage || m.Address != addr {
			t.Errorf("%s: %+v, member %+v", p.name, now, m)
		}
		if s.log.Count(`msg="node has another address" node=`+p.name+" addr="+addr) != 1 {
			t.Error(s.log.String())
		}
	}
}

// A nonvoter gets its vote after it has kept up for a while; at once while the cluster is
// founded. One that is silent begins again.
func TestServerGetsItsVote(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	since := map[string]int64{}
	step := func(what string, vote bool) {
		t.Helper()
		if err := s.reconciler.reconcileServer(t.Context(), s.server(p.id), since); err != nil {
			t.Fatal(err)
		}
		if got := s.server(p.id).Suffrage == raft.Voter; got != vote {
			t.Errorf("%s: vote %v", what, got)
		}
	}
	s.leadership.reports.reset()
	step("never heard of", false)
	p.hears(nil)
	step("heard of", false)
	began, counted := since[p.id]
	if !counted {
		t.Fatal("it does not count from there")
	}
	f := p.report()
	s.leadership.reports.put(&f, s.Clock.Now()-int64(voterSilence)-1)
	step("silent", false)
	if _, counted := since[p.id]; counted {
		t.Error("silence is no break")
	}
	since[p.id] = began - int64(promoteAfter)
	p.hears(func(f *selfReport) { f.Applied = 0 })
	step("kept up for long enough", true)
	if _, counted := since[p.id]; counted || s.log.Count(`msg="node is now a voter" node=n2`) != 1 {
		t.Errorf("since %v\n%s", since, s.log.String())
	}
	if err := s.founding.begin(datadir.Founded); err != nil {
		t.Fatal(err)
	}
	p = s.joined("n3")
	step("a founder, seen once", false)
	step("a founder, seen twice", true)
	if err := s.founding.begin(datadir.Restored); err != nil || s.reconciler.promoteAfter() != promoteAfter {
		t.Errorf("a restored cluster gives votes after %v, %v", s.reconciler.promoteAfter(), err)
	}
}

// A server whose node was removed is removed from Raft, too; a fault with one node does
// not keep the leader from the others.
func TestFaultWithOneServer(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	back, bad, good := s.joined("n2"), s.joined("n3"), s.joined("n4")
	if _, err := s.RemoveNode(t.Context(), "n2", true, byOperator); err != nil {
		t.Fatal(err)
	}
	if err := s.r.Raft().AddNonvoter(raft.ServerID(back.id), raft.ServerAddress(back.mesh.Advertise()), 0, changeWait).Error(); err != nil {
		t.Fatal(err)
	}
	bad.hears(func(f *selfReport) { f.Name = "n4" }) // taken
	good.hears(func(f *selfReport) { f.Region = "asia" })
	s.Region = "us"
	err := s.reconciler.lead(t.Context(), map[string]int64{})
	has(t, "the fault", err, `n3: `)
	has(t, "its reason", err, `there is a node "n4" already`)
	if s.isServer(back.id) {
		t.Error("the removed server came back")
	}
	if m, _ := s.r.Store().Member(good.id); m.Region != "asia" {
		t.Errorf("n4 was not brought up to date: %+v", m)
	}
	if m, _ := s.r.Store().Member(s.self.ID); m.Region != "us" {
		t.Errorf("n1 was not brought up to date: %+v", m)
	}
}

// On every node the reconciler begins the gossip, keeps the certificate and cuts off
// nodes that were removed; the authority of a cluster is made once.
func TestFollowersUpkeep(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	s.reconciler.follow()
	if s.peers.members.Load() != nil || s.certs.creds.Load() != nil {
		t.Error("without an authority there is gossip or a certificate")
	}
	s.open()
	ca := s.r.Store().Trust().CA
	last := s.r.LastIndex()
	if err := s.reconciler.openTrust(t.Context()); err != nil || s.r.LastIndex() != last || string(s.r.Store().Trust().CA) != string(ca) {
		t.Errorf("the authority was made again: %v", err)
	}
	p := s.joined("n2")
	if _, err := posts[uint64](p, callRead, []byte{}); err != nil {
		t.Fatal(err)
	}
	s.reconciler.follow()
	gossip := s.peers.members.Load()
	if gossip == nil {
		t.Fatal("there is no gossip")
	}
	s.until("gossip to know this node", func() bool { _, ok := s.peers.alive()[s.self.ID]; return ok })
	if m := s.peers.alive()[s.self.ID]; m != (meta{"n1", s.mesh.Advertise()}) {
		t.Errorf("it says of itself %+v", m)
	}
	conn, err := p.mesh.Direct(t.Context(), s.mesh.Advertise(), s.self.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := s.RemoveNode(t.Context(), "n2", true, byOperator); err != nil {
		t.Fatal(err)
	}
	s.reconciler.follow()
	if s.peers.members.Load() != gossip {
		t.Error("gossip began again")
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err = conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection of the removed node stays open: %v", err)
	}
	if !s.reconciler.dropped[p.id] {
		t.Error("it is not remembered, and would be cut off again")
	}
}

// A node's silence is logged once, and its return.
func TestPresenceIsLogged(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	const gone, back = `msg="a node is not heard of any more" node=n2`, `msg="a node is back" node=n2`
	for i, step := range []struct {
		heard      bool
		silence    time.Duration
		gone, back int
	}{
		{true, 0, 0, 0},
		{true, 3 * time.Second, 1, 0},
		{true, 4 * time.Second, 1, 0},
		{true, 0, 1, 1},
		{false, time.Hour, 1, 1}, // a leader that has not heard of it counts from its own start
	} {
		s.reconciler.logPresence(p.id, step.heard, int64(step.silence))
		if s.log.Count(gone) != step.gone || s.log.Count(back) != step.back {
			t.Errorf("step %d: %s", i, s.log.String())
		}
	}
	s.leadership.ledSince.Store(s.Clock.Now() - int64(time.Minute))
	s.reconciler.logPresence(p.id, false, 0)
	if s.log.Count(gone) != 2 {
		t.Errorf("never heard of for a minute: %s", s.log.String())
	}
}
