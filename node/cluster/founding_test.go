package cluster

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// A new cluster is complete when it has the expected voters, and a node when it is
// one of them.
func TestLackingVoters(t *testing.T) {
	for _, c := range []struct {
		name    string
		servers string // nonvoters in lower case
		expect  int
		want    string
	}{
		{"nothing is known yet", "", 3, "the cluster has 0 of 3 voters (cluster.expect)"},
		{"the first", "Abc", 3, "the cluster has 1 of 3 voters (cluster.expect)"},
		{"two, and a nonvoter", "ABc", 3, "the cluster has 2 of 3 voters (cluster.expect)"},
		{"all", "ABC", 3, ""},
		{"more", "ABCD", 3, ""},
		{"all but this node", "BCDa", 3, "this node has no vote yet"},
		{"one of one", "A", 1, ""},
	} {
		if got := lacking(servers(c.servers), "A", c.expect); got != c.want {
			t.Errorf("%s: %q, must be %q", c.name, got, c.want)
		}
	}
}

// While a cluster is founded its nodes are not ready, and after a restore only its
// status is not healthy. The file in the data directory keeps that over a restart,
// and is gone when the voters are there.
func TestFounding(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{datadir.Founded, datadir.Restored} {
		c := led(t, 1)
		c.Dir, c.Expect = t.TempDir(), 3
		c.founding.self.ID = c.r.Identity().ID
		const reason = "the cluster has 1 of 3 voters (cluster.expect)"
		if err := c.founding.begin(kind); err != nil {
			t.Fatal(err)
		}
		again := &founding{node: c.node}
		if err := again.load(); err != nil || again.now() != kind {
			t.Fatalf("%s: after a restart it is %q: %v", kind, again.now(), err)
		}
		again.follow()
		if err := again.ready(); (err != nil) != (kind == datadir.Founded) || err != nil && err.Error() != reason {
			t.Errorf("%s: ready: %v", kind, err)
		}
		if got := again.reason(1); got != reason {
			t.Errorf("%s: the status says %q", kind, got)
		}
		if got := again.reason(3); got != "" {
			t.Errorf("%s: with three voters the status says %q", kind, got)
		}
		c.Expect = 1
		if kind == datadir.Restored { // the check of readiness ends a founding by itself
			again.follow()
		}
		if err := again.ready(); err != nil || again.now() != "" || again.reason(0) != "" {
			t.Errorf("%s: with its voters: %v, %q", kind, err, again.now())
		}
		if _, err := c.r.Plain().Stat(c.r.Plain().PathJoin(c.Dir, datadir.FoundingFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file: %v", kind, err)
		}
		if err := again.begin(""); err != nil {
			t.Errorf("a complete cluster: %v", err)
		}
	}
}

// Nodes that begin a cluster of one found nothing that others wait for; a node that is
// admitted learns which nodes its cluster lacks, and gets the token.
func TestPlaceOfAFounder(t *testing.T) {
	f := &former{self: selfReport{ID: "a"}, expect: 3}
	if p, err := f.Run(t.Context()); err != nil || p.creds != nil || p.founding != datadir.Founded {
		t.Errorf("%+v, %v", p, err)
	}
	f.expect = 1
	if p, err := f.Run(t.Context()); err != nil || p.creds != nil || p.founding != "" {
		t.Errorf("alone: %+v, %v", p, err)
	}
	others := answers{"1": info{ID: "b", ClusterID: "cl_1"}, "1 join": joinAnswer{ClusterID: "cl_1", Founding: datadir.Restored, OperatorToken: "token"}}
	f = &former{self: selfReport{ID: "a"}, join: []string{"1"}, expect: 3, ask: others.ask, say: newTroubles(nil)}
	if p, err := f.Run(t.Context()); err != nil || p.creds == nil || p.founding != datadir.Restored || p.token != "token" {
		t.Errorf("%+v, %v", p, err)
	}
}

// The configuration counts only once it is committed.
func TestCommittedServers(t *testing.T) {
	t.Parallel()
	c := led(t, 1)
	if got := c.r.CommittedServers(); len(got) != 1 || got[0].Suffrage != raft.Voter || !strings.HasPrefix(string(got[0].ID), c.r.Identity().ID) {
		t.Errorf("%+v", got)
	}
}

// A server without a vote is none of the voters.
func TestVoters(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	other := s.voter("n2")
	s.joined("n3")
	got, want := s.r.Voters(), []string{s.self.ID, other.id}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(s.servers()) != 3 {
		t.Errorf("voters %q, want %q of %v", got, want, s.servers())
	}
}

// A node that founds a cluster looks again where it cannot know whether the state was made, and
// ends where it cannot make one.
func TestFoundingIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := emptyStage(t, nil)
	never := errors.New("the disk is on fire")
	if err := s.WaitState(t.Context(), func(context.Context) error { return never }); !errors.Is(err, never) {
		t.Errorf("an error that lasts: %v", err)
	}
	tries := 0
	err := s.WaitState(t.Context(), func(context.Context) error {
		if tries++; tries == 1 {
			return replica.Refuse(replica.ErrUnknownOutcome, nil)
		}
		replicatest.Begin(t, s.r)
		return nil
	})
	if err != nil || tries != 2 || !s.log.Has("not made yet") {
		t.Errorf("after %d attempts: %v", tries, err)
	}
}

// emptyStage is a stage whose cluster has no state yet.
func emptyStage(t *testing.T, adjust func(*Config)) *stage {
	t.Helper()
	s := &stage{t: t}
	config := &Config{
		Dir: "data", Name: "n1", Version: "test", Region: "eu", Logger: s.log.Logger(), Listen: "127.0.0.1:0",
		Secret: []byte(stageSecret), Expect: 1, Lease: stageLease, Clock: clock.New(), Draining: func() bool { return false },
		Calls: Calls{Yield: func(context.Context, []store.GrantAsk) error { return nil }},
	}
	if adjust != nil {
		adjust(config)
	}
	rc := replicatest.Config(t, replicatest.Memory(t), config.Dir)
	rc.Logger = config.Logger
	rc.Coordinate = func(r *replica.Replica) replica.Coordinator {
		s.Cluster = New(r, config)
		return byHand{s.Cluster}
	}
	fatal := rc.Fatal
	rc.Fatal = func(err error) {
		if !s.ends.Load() {
			fatal(err)
		}
	}
	r := replicatest.Start(t, rc)
	t.Cleanup(func() {
		r.Abandon() // nobody is there to hand the leadership to
		replicatest.Shut(t, r)
	})
	return s
}
