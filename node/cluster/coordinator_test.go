package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/cluster"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

var operator = store.Actor{Type: store.ActorOperator, ID: "op"}

// reason fails unless err has the reason, the sentence and the hint.
func reason(t *testing.T, what string, err, want error, sentence string) {
	t.Helper()
	var e *replica.Error
	if !errors.As(err, &e) || !errors.Is(e.Reason, want) || e.Message != sentence {
		t.Errorf("%s: %v, must be %v: %s", what, err, want, sentence)
	}
}

// A write at a follower goes through the leader; when it answers, it is in force on
// every node, and each is named with the way.
func TestWriteAtAFollower(t *testing.T) {
	g := start(t, 3)
	_, m := g.follower()
	n := 0
	g.until("a write that all three applied", func() error { // on a loaded machine a lease may end first
		n++
		got, err := m.Write(t.Context(), replicatest.CreateKey(n))
		if err != nil {
			return err
		}
		for _, other := range g.members {
			if other.Serving() && !replicatest.Holds(t, other.Replica, n) {
				t.Errorf("%s serves and does not have what was answered", other.name)
			}
		}
		rv := got.Revocation
		if rv.Index != got.Index || !rv.Effective || !slices.Equal(rv.Nodes, []replica.Ack{{Name: "n1", How: "applied"}, {Name: "n2", How: "applied"}, {Name: "n3", How: "applied"}}) {
			return fmt.Errorf("the receipt of index %d: %+v", got.Index, rv)
		}
		return nil
	})
	// A refusal by apply travels in the result.
	again, err := m.Propose(t.Context(), replicatest.CreateKey(n))
	if err != nil || again.Refusal == nil {
		t.Errorf("the same key again: %+v, %v", again, err)
	}
	if err := m.Replica.Linearize(t.Context()); err != nil {
		t.Error(err)
	}
}

// A request that an operator sends to the wrong node, or that the cluster cannot grant,
// is refused with the same reason and sentence at the leader and at a follower.
func TestOperatorsRefusals(t *testing.T) {
	g := start(t, 2)
	leader := g.leader()
	_, follower := g.follower()
	for _, m := range []*member{leader, follower} {
		_, err := m.RemoveNode(t.Context(), "n9", false, operator)
		reason(t, m.name+" removes nobody", err, replica.ErrNotFound, `There is no node "n9" in this cluster.`)
		_, err = m.RemoveNode(t.Context(), leader.name, false, operator)
		reason(t, m.name+" removes the leader", err, replica.ErrConflict, leader.name+" leads the cluster; transfer the leadership first, or stop it.")
		reason(t, m.name+" transfers to nobody", m.TransferLeadership(t.Context(), "n9", false, operator), replica.ErrNotFound, `There is no node "n9" in this cluster.`)
		if err := m.TransferLeadership(t.Context(), leader.name, false, operator); err != nil || !leader.Leads() {
			t.Errorf("%s transfers to the leader: %v", m.name, err)
		}
	}
	if err := leader.TransferLeadership(t.Context(), follower.name, false, operator); err != nil {
		t.Fatal(err)
	}
	g.until("the other to lead", func() error {
		if follower.Leads() {
			return nil
		}
		return errors.New("it does not")
	})
}

// reportsAll fails unless m serves and reports the leader and all members as ready.
func (g *group) reportsAll(m *member) error {
	leader := g.leader()
	s := m.Status(g.t.Context())
	if s.Leader != leader.name || s.ClusterID != "cl_1" || !s.Healthy || len(s.Nodes) != len(g.members) {
		return fmt.Errorf("%+v", s)
	}
	for _, n := range s.Nodes {
		role := map[bool]string{true: "leader", false: "voter"}[n.Name == leader.name]
		if n.Role != role || n.State != replica.StateReady || n.LeaseMS == nil || *n.LeaseMS <= 0 || n.Version != "test" {
			return fmt.Errorf("%s: %+v", n.Name, n)
		}
	}
	if !m.Serving() || m.Alone() || m.Replica.Ready() != nil {
		return errors.New("it does not serve")
	}
	return nil
}

// The status is the leader's on every node, until there is no leader.
func TestStatusOfEveryNode(t *testing.T) {
	g := start(t, 3)
	for _, m := range g.members {
		g.until(m.name+" to report the leader and all nodes", func() error { return g.reportsAll(m) })
	}
	i, m := g.follower()
	g.net.Isolate(i)
	g.until("the isolated node to stop serving and to give the reason", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := m.Status(ctx)
		if m.Serving() || s.Healthy || s.Leader != "" || !strings.HasPrefix(strings.Join(s.Reasons, "; "), "no leader: ") {
			return fmt.Errorf("serving %v, %+v", m.Serving(), s)
		}
		return nil
	})
	_, err := m.Propose(t.Context(), replicatest.CreateKey(1))
	if !errors.Is(err, replica.ErrNoLeader) && !errors.Is(err, replica.ErrUnknownOutcome) {
		t.Errorf("a write without a leader: %v", err)
	}
	g.net.Heal()
	g.until("it to serve again", func() error {
		if m.Serving() {
			return nil
		}
		return m.Replica.Ready()
	})
}

// A node joins a cluster that runs; a node with its name must not, while it is
// heard of.
func TestJoinARunningCluster(t *testing.T) {
	g := start(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := g.configOf(1, 2)
	c.Expect = 1
	m, err := g.open(ctx, replicatest.Memory(t), c)
	if err != nil {
		t.Fatal(err)
	}
	if m.Store().ClusterID() != "cl_1" {
		t.Errorf("it is in cluster %q", m.Store().ClusterID())
	}
	g.members = append(g.members, m)
	g.until("it to get a vote", func() error {
		s := g.members[0].Status(ctx)
		if len(s.Nodes) == 2 && s.Nodes[1].Role == "voter" && s.Healthy {
			return nil
		}
		return fmt.Errorf("%+v", s)
	})
	twin := g.configOf(2, 3)
	twin.Name, twin.Expect = m.name, 1
	waits := make(chan string, 100)
	twin.Waiting = func(why string) {
		select {
		case waits <- why:
		default:
		}
	}
	short, stop := context.WithCancel(ctx)
	refused := make(chan error, 1)
	go func() {
		_, err := g.open(short, replicatest.Memory(t), twin)
		refused <- err
	}()
	for why := range waits {
		if strings.Contains(why, "there is a node n2 at") {
			break
		}
	}
	stop()
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "there is a node n2 at") {
		t.Errorf("the twin: %v", err)
	}
}

// A new leader judges a write that it is asked to wait for by its own log: one that
// takes a right away waits for the leases of earlier terms, whatever the sender says.
func TestSettleJudgesTheEntry(t *testing.T) {
	g := start(t, 2)
	leader := g.leader()
	_, next := g.follower()
	replicatest.Must(t, leader.Replica, replicatest.CreateKey(1))
	got, err := leader.Write(t.Context(), &store.Command{
		At: time.Now(), Actor: operator, Account: store.DefaultAccount, Change: &store.KeyRevoke{ID: replicatest.KeyID(1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := leader.TransferLeadership(t.Context(), next.name, false, operator); err != nil {
		t.Fatal(err)
	}
	g.until("the other to lead", func() error {
		if !next.Leads() {
			return errors.New("it does not")
		}
		return nil
	})
	w := httptest.NewRecorder()
	next.ServeSettle(w, httptest.NewRequest(http.MethodPost, "/settle", strings.NewReader(fmt.Sprintf(`{"index":%d}`, got.Index))))
	if took, lease := time.Since(before), g.configOf(0, 2).Lease; took < lease || !strings.Contains(w.Body.String(), `"effective":true`) {
		t.Errorf("answered %v after the old leader's term, whose leases last %v: %s", took, lease, w.Body)
	}
}

// Each node that founds a cluster gets the operator token, and is ready once there are
// the expected voters; one that joins later gets none.
func TestFounders(t *testing.T) {
	g := newGroup(t, 3)
	var mu sync.Mutex
	kept := map[int]string{}
	g.adjust = func(i int, c *cluster.Config) {
		c.Token = func(hashes []store.Hash) string {
			if slices.Contains(hashes, store.Hash{2}) {
				return "the token"
			}
			return ""
		}
		c.KeepToken = func(token string) error {
			mu.Lock()
			defer mu.Unlock()
			kept[i] = token
			return nil
		}
	}
	g.start()
	for _, m := range g.members {
		g.until(m.name+" to be ready", m.Replica.Ready)
	}
	mu.Lock()
	if len(kept) != 2 { // the first one has it
		t.Errorf("%d nodes were given a token: %v", len(kept), kept)
	}
	for i, token := range kept {
		if token != "the token" {
			t.Errorf("n%d was given %q", i+1, token)
		}
	}
	clear(kept)
	mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := g.open(ctx, replicatest.Memory(t), g.configOf(3, 4)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(kept) > 0 {
		t.Errorf("a node that joined later was given %v", kept)
	}
}

// Right after a transfer each node has the new leader's status, without alarms about
// nodes and leases that the new leader is only about to hear of.
func TestStatusAfterATransfer(t *testing.T) {
	g := start(t, 3)
	var alarms []string
	const rounds = 5
	for range rounds {
		_, next := g.follower()
		g.until("a transfer", func() error {
			return g.leader().TransferLeadership(t.Context(), next.name, false, operator)
		})
		for _, m := range g.members {
			if s := m.Status(t.Context()); !s.Healthy || s.Leader != next.name || s.FailureTolerance() != 1 {
				alarms = append(alarms, fmt.Sprintf("%s: %+v", m.name, s))
				break
			}
		}
	}
	if len(alarms) > 1 { // on a loaded machine a node may really be away
		t.Errorf("alarms after %d of %d transfers: %s", len(alarms), rounds, strings.Join(alarms, "\n"))
	}
}
