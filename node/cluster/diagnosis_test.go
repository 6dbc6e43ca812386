package cluster

import (
	"errors"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/mesh"
)

// A node without a lease finds the reason in the answers of the others: each has its
// sentence, and only a member of its own cluster can say that it was removed.
func TestDiagnosis(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.puppet("n2")
	at := p.mesh.Advertise()
	for _, c := range []struct {
		name    string
		join    []string
		answer  any
		why     string
		removed bool
	}{
		{"only itself", []string{s.mesh.Advertise()}, nil, "it knows no other node", false},
		{"no leader", []string{at}, info{ID: p.id, ClusterID: "c1"}, "the nodes that it reaches have no leader", false},
		{"a node that has no cluster yet", []string{at}, info{ID: p.id}, "the nodes that it reaches have no leader", false},
		{"a leader", []string{at, at}, info{ID: p.id, ClusterID: "c1", Leader: "h:1"}, "it has not caught up with the leader yet", false},
		{"another cluster", []string{at}, info{ID: p.id, ClusterID: "c2", Leader: "h:1"}, at + " belongs to cluster c2 and this node to c1; correct cluster.join, or empty this node's data directory to join that cluster", false},
		{"removed", []string{at}, info{ID: p.id, ClusterID: "c1", Leader: "h:1", Removed: true}, mesh.ErrRemoved.Error(), true},
		{"removed from another cluster", []string{at}, info{ID: p.id, ClusterID: "c2", Removed: true}, "belongs to cluster c2", false},
		{"a refusal", []string{at}, errors.New("the node is starting"), at + ": ask " + at + ": the peer refused: the node is starting", false},
		{"nobody at an address", []string{at, "127.0.0.1:1"}, info{ID: p.id, ClusterID: "c1", Leader: "h:1"}, "127.0.0.1:1: ask 127.0.0.1:1: ", false},
	} {
		s.Join = c.join
		p.answers(askInfo, func([]byte) any { return c.answer })
		why, removed := s.diagnosis.diagnose(t.Context())
		if removed != c.removed || !strings.Contains(why, c.why) || c.removed && why != c.why {
			t.Errorf("%s: %q, removed %v", c.name, why, removed)
		}
	}
	// Every fault is named.
	s.Join = []string{at, "127.0.0.1:1"}
	p.answers(askInfo, func([]byte) any { return errors.New("starting") })
	if why, _ := s.diagnosis.diagnose(t.Context()); strings.Count(why, "; ") < 1 || !strings.Contains(why, "the peer refused: starting") || !strings.Contains(why, "127.0.0.1:1: ") {
		t.Errorf("two faults: %q", why)
	}
	// The certificate counts where the state is older.
	newer := *s.certs.creds.Load()
	newer.ClusterID = "c2"
	s.certs.creds.Store(&newer)
	s.Join = []string{at}
	p.answers(askInfo, func([]byte) any { return info{ID: p.id, ClusterID: "c2", Removed: true} })
	if why, removed := s.diagnosis.diagnose(t.Context()); !removed {
		t.Errorf("removed from the cluster of its certificate: %q", why)
	}
}

// A node with another secret is told that it was removed by its certificate; one that
// only has another secret is not.
func TestDiagnosisByCertificate(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2") // a member, so that its address is asked without cluster.join
	if err := p.mesh.SetSecret([]byte(strings.ToUpper(stageSecret))); err != nil {
		t.Fatal(err)
	}
	if why, removed := s.diagnosis.diagnose(t.Context()); removed || !strings.Contains(why, mesh.ErrSecret.Error()) {
		t.Errorf("another secret: %q, removed %v", why, removed)
	}
	p.denies.Store(true)
	p.mesh.Drop(s.self.ID) // as a node does that learns of the removal
	if why, removed := s.diagnosis.diagnose(t.Context()); !removed || why != mesh.ErrRemoved.Error() {
		t.Errorf("removed: %q, %v", why, removed)
	}
}

// A node suspects that it was removed when it has had no leader for a while.
func TestSuspicion(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	now := s.Clock.Now()
	s.holder.changed.Store(now - int64(suspectAfter) - 1)
	if s.diagnosis.leaderless(now) {
		t.Error("with a leader")
	}
	replicaStops(t, s)
	if !s.diagnosis.leaderless(now) {
		t.Error("without a leader for a while")
	}
	s.holder.changed.Store(now - int64(suspectAfter))
	if s.diagnosis.leaderless(now) {
		t.Error("right after it was lost")
	}
}

// replicaStops makes n1 lose its leadership to nobody.
func replicaStops(t *testing.T, s *stage) {
	t.Helper()
	if err := s.r.Raft().Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	s.until("the leader to be gone", func() bool { _, _, ok := s.peers.leader(); return !ok })
}
