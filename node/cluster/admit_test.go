package cluster

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
)

// A node that asks to join becomes a member and a server without a vote, and its
// certificate is of the cluster's authority. A repeated request changes nothing.
func TestAdmission(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	for range 2 {
		m, ok := s.r.Store().Member(p.id)
		if !ok || m.Name != "n2" || m.Address != p.mesh.Advertise() || m.Level != store.Level {
			t.Fatalf("its record: %+v", m)
		}
		if v := s.server(p.id); v.Suffrage != raft.Nonvoter || string(v.Address) != p.mesh.Advertise() {
			t.Errorf("in Raft: %+v", v)
		}
		if f, heard := s.leadership.reports.of(p.id); !heard || s.Clock.Wall().Sub(f.Wall).Abs() > time.Minute {
			t.Errorf("its report: %+v", f)
		}
		old := p.report()
		old.Wall = time.Unix(0, 0) // of its first try
		out, _, err := p.request(old)
		if err != nil || out.ClusterID != "c1" || out.Founding != "" || out.OperatorToken != "" {
			t.Errorf("once more: %+v, %v", out, err)
		}
	}
	if n := len(s.servers()); n != 2 {
		t.Errorf("%d servers", n)
	}
	p.answers(callStatus, func([]byte) any { return true })
	if _, err := call[bool](t.Context(), s.mesh, p.mesh.Advertise(), p.id, callStatus, nil); err != nil {
		t.Errorf("the certificate is not accepted: %v", err)
	}
}

// The leader refuses a node with the reason; nothing is written about it.
func TestAdmissionIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	p := s.puppet("n2")
	refused := func(what, why string, change func(*selfReport)) {
		t.Helper()
		f := p.report()
		if change != nil {
			change(&f)
		}
		_, _, err := p.request(f)
		has(t, what, err, why)
		if _, ok := s.r.Store().Member(p.id); ok || s.isServer(p.id) {
			t.Errorf("%s: it was admitted", what)
		}
	}
	refused("before the cluster has an authority", "the cluster is not open to other nodes yet", nil)
	if err := s.reconciler.openTrust(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("before the leader has a certificate", "the cluster is not open to other nodes yet", nil)
	s.open()
	refused("an older version", "it runs version v0, which is too old for this cluster", func(f *selfReport) { f.Version, f.Level = "v0", s.r.Store().ClusterLevel()-1 })
	refused("another region", `node.region is "eu-west" here and "eu" on the leader`, func(f *selfReport) { f.Region = "eu-west" })
	refused("the leader's name", "its name or address is that of n1", func(f *selfReport) { f.Name = "n1" })
	refused("the leader's address", "its name or address is that of n1", func(f *selfReport) { f.Address = s.mesh.Advertise() })
	refused("a request for another id", `the request is for "idn2"`, func(f *selfReport) { f.ID = "another" })
	wall, mono := s.Clock.Read()
	ahead := wall.UnixNano() - mono
	s.clocks.truth.Store(&median{ahead + int64(month), ahead + int64(month)})
	refused("a leader with a wrong clock", "the node's clock is -744h", nil)
	s.clocks.truth.Store(nil)
	if _, _, err := p.request(p.report()); err != nil {
		t.Errorf("with everything right: %v", err)
	}
}

// A follower names its leader, and a node without one says so.
func TestAdmissionAtAFollower(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	leader, p := s.joined("n2"), s.puppet("n3")
	leader.leads()
	out, _, err := p.request(p.report())
	if err != nil || out.Leader != leader.mesh.Advertise() || out.Cert != nil {
		t.Errorf("%+v, %v", out, err)
	}
	raw, err := p.ask(askInfo, info{ID: p.id})
	var i info
	if err := json.Unmarshal(raw, &i); err != nil || i.Leader != leader.mesh.Advertise() || i.ClusterID != "c1" || i.Name != "n1" || i.ID != s.self.ID || i.Removed {
		t.Errorf("its information: %s, %v", raw, err)
	}
	has(t, "information", err, "")
}

// Anybody with the secret gets information; of other questions nothing is known.
func TestAnswersToStrangers(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	p := s.puppet("n2")
	ask := func(kind string, body any) (i info, err error) {
		raw, err := p.ask(kind, body)
		if err == nil {
			err = json.Unmarshal(raw, &i)
		}
		return i, err
	}
	i, err := ask(askInfo, info{ID: p.id})
	if err != nil || i.ClusterID != "c1" || i.Leader != s.mesh.Advertise() || i.Removed || i.Expect != 0 || len(i.Seen) != 0 {
		t.Errorf("%+v, %v", i, err)
	}
	_, err = ask("backup", info{ID: p.id})
	has(t, "a question of a newer version", err, `this node knows no request "backup"; give all nodes the same version`)
	for _, kind := range []string{askInfo, askJoin} {
		if _, err := ask(kind, 7); err == nil {
			t.Errorf("%s: a number for a body", kind)
		}
	}
}

// A node that founds the cluster with others gets the operator token; one that joins a
// restored or a complete cluster does not.
func TestTokenOfFounders(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) {
		c.Expect = 3
		c.Token = func(hashes []store.Hash) string {
			if len(hashes) == 1 && hashes[0] == (store.Hash{2}) {
				return "token"
			}
			return ""
		}
	})
	p := s.joined("n2")
	for _, c := range []struct {
		kind   string
		expect int
		open   string
		token  string
	}{
		{datadir.Founded, 3, datadir.Founded, "token"},
		{datadir.Restored, 3, datadir.Restored, ""},
		{datadir.Founded, 1, "", ""}, // it has its voters
	} {
		s.Expect = c.expect
		if err := s.founding.begin(c.kind); err != nil {
			t.Fatal(err)
		}
		out, _, err := p.request(p.report())
		if err != nil || out.Founding != c.open || out.OperatorToken != c.token {
			t.Errorf("%s of %d: %+v, %v", c.kind, c.expect, out, err)
		}
	}
	s.Expect, s.Token = 3, nil
	if out, _, err := p.request(p.report()); err != nil || out.Founding != datadir.Founded || out.OperatorToken != "" {
		t.Errorf("without a keeper of tokens: %+v, %v", out, err)
	}
}

// A node takes the place of one at its address or with its name, unless that was heard
// of just now, or the leader is too new to have heard of it.
func TestMakeRoom(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	old := s.joined("n2")
	long := int64(time.Minute)
	for _, c := range []struct {
		name    string
		request joinRequest
		heard   int64 // ago; -1: not at all
		led     int64 // for how long
		refused bool
		gone    bool
	}{
		{"another name and address", joinRequest{selfReport: selfReport{ID: "new", Name: "n3", Address: "h:1"}}, 0, long, false, false},
		{"the same node", joinRequest{selfReport: selfReport{ID: old.id, Name: "n2", Address: "h:1"}}, 0, long, false, false},
		{"the name of one heard of just now", joinRequest{selfReport: selfReport{ID: "new", Name: "n2", Address: "h:1"}}, int64(contactFresh) - int64(time.Second), long, true, false},
		{"the address of one heard of just now", joinRequest{selfReport: selfReport{ID: "new", Name: "n3", Address: old.mesh.Advertise()}}, 0, long, true, false},
		{"the name of one never heard of by a new leader", joinRequest{selfReport: selfReport{ID: "new", Name: "n2", Address: "h:1"}}, -1, int64(time.Second), true, false},
		{"the name of a silent one", joinRequest{selfReport: selfReport{ID: "new", Name: "n2", Address: "h:1"}}, int64(contactFresh) + 1, long, false, true},
	} {
		now := s.Clock.Now()
		s.leadership.ledSince.Store(now - c.led)
		s.leadership.reports.reset()
		if c.heard >= 0 {
			f := old.report()
			s.leadership.reports.put(&f, now-c.heard)
		}
		err := s.membership.makeRoom(t.Context(), &c.request)
		if c.refused {
			has(t, c.name, err, "there is a node n2 at "+old.mesh.Advertise()+", heard of just now; if this one is to take its place, stop that one")
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if s.isServer(old.id) == c.gone || s.r.Store().Removed(old.id) != c.gone {
			t.Errorf("%s: server %v, removed %v", c.name, s.isServer(old.id), s.r.Store().Removed(old.id))
		}
	}
	if f, heard := s.leadership.reports.of(old.id); heard {
		t.Errorf("the report of the one that was replaced stays: %+v", f)
	}
}

// A report is written down when it says something new, and a node that no longer serves
// without a lease is not waited for as one that does.
func TestMemberRecord(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	before := s.r.LastIndex()
	f := p.report()
	put := func() {
		t.Helper()
		if err := s.membership.putMember(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if s.r.LastIndex() != before {
		t.Error("a report that says nothing new was written")
	}
	f.Region, f.Stale = "us", true
	put()
	if m, _ := s.r.Store().Member(p.id); m.Region != "us" || !m.Stale {
		t.Errorf("%+v", m)
	}
	s.leadership.begin(s.leadership.term.Load() + 1) // a leader suspects it of serving on
	if got := s.leadership.table.Status(s.Clock.Now()); len(got) != 1 || got[0].ID != p.id || !got[0].Stale {
		t.Fatalf("suspects: %+v", got)
	}
	f.Stale = false
	put()
	if got := s.leadership.table.Status(s.Clock.Now()); len(got) != 1 || got[0].Stale {
		t.Errorf("still suspected: %+v", got)
	}
}
