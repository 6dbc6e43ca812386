package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/cluster"
	"github.com/perfgate/perfgate/node/nodetest"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// patience bounds each wait of these tests, on a loaded machine.
const patience = 60 * time.Second

// group is a cluster of replicas in this process, without listeners for clients.
type group struct {
	t       *testing.T
	net     *nodetest.Net
	members []*member
	adjust  func(i int, c *cluster.Config) // changes a configuration; nil: none
	apply   sync.RWMutex                   // a test that locks it keeps every member from applying entries
}

// member is one node of a group.
type member struct {
	*replica.Replica
	*cluster.Cluster
	name  string
	fatal chan error // gets the error that the node cannot go on with
}

// configOf is the configuration of member i of n.
func (g *group) configOf(i, n int) *cluster.Config {
	c := &cluster.Config{
		Dir: "data", Name: fmt.Sprintf("n%d", i+1), Version: "test", Logger: slog.New(slog.DiscardHandler),
		Listen: nodetest.Address(i, 7000), Advertise: nodetest.Address(i, 7000), Secret: []byte(strings.Repeat("s", 32)),
		Expect: n, Lease: 2 * time.Second, Clock: clock.New(), Net: g.net.Host(i), Draining: func() bool { return false },
	}
	for j := range n {
		c.Join = append(c.Join, nodetest.Address(j, 7000))
	}
	if g.adjust != nil {
		g.adjust(i, c)
	}
	return c
}

// open opens a member; it begins or joins a cluster.
func (g *group) open(ctx context.Context, fs vfs.FS, config *cluster.Config) (*member, error) {
	m := &member{name: config.Name, fatal: make(chan error, 1)}
	rc := replicatest.Config(g.t, fs, config.Dir)
	rc.Name, rc.Logger = config.Name, config.Logger
	rc.Fatal = func(err error) { m.fatal <- err }
	rc.Applying = func([]*raft.Log) {
		g.apply.RLock()
		defer g.apply.RUnlock()
	}
	rc.Coordinate = func(r *replica.Replica) replica.Coordinator {
		m.Cluster = cluster.New(r, config)
		return m.Cluster
	}
	var err error
	if m.Replica, err = replica.Open(ctx, rc); err != nil {
		return nil, err
	}
	g.t.Cleanup(func() { replicatest.Shut(g.t, m.Replica) })
	err = m.WaitState(ctx, func(ctx context.Context) error {
		_, err := m.Write(ctx, &store.Command{
			At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: m.name},
			Change: &store.Init{ClusterID: "cl_1", Pepper: store.Hash{1}, OperatorToken: store.Hash{2}, DefaultTier: "free"},
		})
		return err
	})
	return m, err
}

// start begins a cluster of n and waits until all of it vote and serve. Tests of
// groups do not run in parallel: nodes that get no processor lose their leadership.
func start(t *testing.T, n int) *group {
	t.Helper()
	g := newGroup(t, n)
	g.start()
	return g
}

func newGroup(t *testing.T, n int) *group {
	return &group{t: t, net: nodetest.NewNet(), members: make([]*member, n)}
}

func (g *group) start() {
	t, n := g.t, len(g.members)
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			g.members[i], errs[i] = g.open(ctx, replicatest.Memory(t), g.configOf(i, n))
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	g.until("the cluster to be healthy", func() error {
		for _, m := range g.members {
			if s := m.Status(ctx); !s.Healthy || len(s.Nodes) != n {
				return fmt.Errorf("%s reports %+v", m.name, s)
			}
		}
		return nil
	})
}

// leader is the member that leads; there must be one.
func (g *group) leader() *member {
	g.t.Helper()
	var out *member
	g.until("a leader", func() error {
		for _, m := range g.members {
			if m.Leads() {
				out = m
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return out
}

// follower is the first member that does not lead, and its number.
func (g *group) follower() (int, *member) {
	leader := g.leader()
	for i, m := range g.members {
		if m != leader {
			return i, m
		}
	}
	g.t.Fatal("there is no follower")
	return 0, nil
}

// until asks until f returns nil.
func (g *group) until(what string, f func() error) {
	g.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
	}
}
