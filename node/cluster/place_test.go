package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/logtest"
)

// A node that waits for others says so, asks again and again, and logs the reason only
// when it has waited for longer than nodes need that start together.
func TestWaitingForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Log
		began := time.Now()
		ask := func(_ context.Context, addr, kind string, in any) ([]byte, error) {
			if time.Since(began) < 5*time.Second {
				return nil, errors.New("connection refused")
			}
			return answers{"1": info{ID: "b", ClusterID: "cl_1"}, "1 join": joinAnswer{ClusterID: "cl_1"}}.ask(t.Context(), addr, kind, in)
		}
		waits := 0
		f := &former{self: selfReport{ID: "a"}, join: []string{"1"}, expect: 2, ask: ask, say: newTroubles(log.Logger()), waiting: func(why string) {
			if waits++; why != "1: connection refused" {
				t.Errorf("it waits because %q", why)
			}
			if lines := log.Count("level=WARN"); time.Since(began) < patience && lines != 0 || lines > 1 {
				t.Errorf("after %v: %d lines", time.Since(began), lines)
			}
		}}
		found, err := f.Run(t.Context())
		if err != nil || found.creds == nil || found.creds.ClusterID != "cl_1" || found.founding != "" {
			t.Errorf("%+v, %v", found, err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second || waits != 10 {
			t.Errorf("after %v and %d rounds", took, waits)
		}
		if log.Count(`msg="waiting to form or join the cluster" reason="1: connection refused"`) != 1 {
			t.Error(log.String())
		}
		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		f.waiting = nil
		_, err = f.Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in vain: %v", err)
		}
		has(t, "in vain", err, "form or join a cluster: context deadline exceeded: 1: connection refused")
	})
}

// A damaged certificate, a port that is taken and a secret that is too short end a start
// with their reasons.
func TestEnterThatFails(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for _, c := range []struct {
		name   string
		adjust func(*Config)
		want   string
	}{
		{"a secret", func(c *Config) { c.Secret = []byte("short") }, "secret"},
		{"an address", func(c *Config) { c.Listen = "203.0.113.1:1" }, `listen on "203.0.113.1:1" for the cluster`},
		{"nobody answers", func(c *Config) { c.Join = []string{mute.Addr().String()} }, "form or join a cluster"},
	} {
		config := &Config{
			Dir: "data", Name: "n1", Logger: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0", Secret: []byte(stageSecret),
			Expect: 2, Lease: stageLease, Clock: clock.New(), Draining: func() bool { return false },
		}
		c.adjust(config)
		rc := replicatest.Config(t, replicatest.Memory(t), config.Dir)
		rc.Coordinate = func(r *replica.Replica) replica.Coordinator { return New(r, config) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if len(config.Join) > 0 {
			go func() { // the start ends once it has asked
				if conn, err := mute.Accept(); err == nil {
					conn.Close()
				}
				cancel()
			}()
		}
		r, err := replica.Open(ctx, rc)
		cancel()
		has(t, c.name, err, c.want)
		if r != nil {
			replicatest.Shut(t, r)
		}
	}
}

// A new secret keeps out nodes that know the old one only.
func TestSecretChanges(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.puppet("n2")
	has(t, "a short secret", s.SetSecret([]byte("short")), "32")
	if _, _, err := p.request(p.report()); err != nil {
		t.Errorf("with the old secret: %v", err)
	}
	next := []byte(strings.ToUpper(stageSecret))
	if err := s.SetSecret(next); err != nil {
		t.Fatal(err)
	}
	q := s.puppet("n3")
	_, _, err := q.request(q.report())
	has(t, "the old secret", err, "the cluster secrets differ")
	if err := q.mesh.SetSecret(next); err != nil {
		t.Fatal(err)
	}
	if _, _, err = q.request(q.report()); err != nil {
		t.Errorf("the new secret: %v", err)
	}
}

// The cluster is complete when it has as many members as are expected.
func TestComplete(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Expect = 2 })
	if s.Complete() {
		t.Error("with one of two")
	}
	s.joined("n2")
	if !s.Complete() {
		t.Error("with both")
	}
}

// neverAnswered is a future of a Raft that has stopped.
type neverAnswered struct{ stop chan struct{} }

func (f neverAnswered) Error() error { <-f.stop; return nil }

// A future of Raft's that is never answered does not hold up its caller.
func TestAwait(t *testing.T) {
	t.Parallel()
	c := led(t, 1)
	never := neverAnswered{make(chan struct{})}
	defer close(never.stop)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.await(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
	if err := c.await(t.Context(), c.r.Raft().Barrier(0)); err != nil {
		t.Errorf("answered: %v", err)
	}
	var done atomic.Int32
	answered := promotion{c.r.Raft().Barrier(0), func() { done.Add(1) }}
	if err := c.await(t.Context(), answered); err != nil || done.Load() != 1 {
		t.Errorf("a promotion: %v, told %d times", err, done.Load())
	}
	c.r.Abandon()
	replicatest.Shut(t, c.r)
	if err := c.await(t.Context(), never); !errors.Is(err, raft.ErrRaftShutdown) {
		t.Errorf("it stops: %v", err)
	}
}

// A node waits for the state of its cluster; the one that leads makes it.
func TestWaitState(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil) // has a state
	made := func(context.Context) error { t.Error("a state was made again"); return nil }
	if err := s.WaitState(t.Context(), made); err != nil {
		t.Error(err)
	}
	// Without a leader a node with a state answers from it.
	replicaStops(t, s)
	if err := s.WaitState(t.Context(), made); err != nil {
		t.Error(err)
	}
	if err := s.Linearize(mustEnd(t)); !errors.Is(err, replica.ErrNoLeader) {
		t.Errorf("a read without a leader: %v", err)
	}
	if _, err := s.r.Propose(mustEnd(t), replicatest.CreateKey(1)); !errors.Is(err, replica.ErrNoLeader) {
		t.Errorf("a write without a leader: %v", err)
	}
	if _, err := s.RemoveNode(mustEnd(t), "n2", true, byOperator); !errors.Is(err, replica.ErrNoLeader) {
		t.Errorf("a removal without a leader: %v", err)
	}
	if err := s.Recall(mustEnd(t), []store.GrantAsk{recalled}); !errors.Is(err, replica.ErrNoLeader) {
		t.Errorf("a recall without a leader: %v", err)
	}
}

// mustEnd is a context that ends soon.
func mustEnd(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
