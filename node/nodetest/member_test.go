package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/nodetest"
)

// After a reload new nodes join with the changed secret and not with the old one;
// members notice nothing.
func TestSecretChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(nodetest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	c := nodetest.Start(t, 3, func(_ int, s *nodetest.Setup) {
		s.Secret, s.File = "", fmt.Sprintf("secret_file = %q", file)
	})
	next := strings.Repeat("the-next-secret-", 3)
	if err := os.WriteFile(file, []byte(next+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		n.Reload()
	}
	n := c.Add()
	n.Start() // with the old secret
	waiting(t, c, 3, "the cluster secrets differ")
	c.Stop(3)
	n.Setup.Secret = next
	c.Delay(60 * time.Millisecond) // it takes a while until its first report as a member arrives
	n.Start()
	oneCluster(t, c, 4)
	c.Delay(0)
	c.WaitHealthy()
	for _, m := range c.Nodes {
		if m.SaidOf("a node is not heard of any more", n.Setup.Name) > 0 {
			t.Errorf("%s misses a node that has just joined", m.Setup.Name)
		}
	}
}

// A vote that the status reports is committed: it counts when the leader that gave
// it dies at once. The slow network keeps the change under way for long enough to
// be seen.
func TestReportedVoteCounts(t *testing.T) {
	t.Parallel()
	c := nodetest.New(t, 1)
	c.Nodes[0].Start()
	c.WaitHealthy()
	c.Add().Start()
	c.WaitHealthy()
	c.Add().Start()
	oneCluster(t, c, 3)
	c.Delay(80 * time.Millisecond)
	c.Until("the leader reports three voters", func() error {
		s := status(c, 0)
		if s == nil || len(s.Nodes) != 3 {
			return fmt.Errorf("status %+v", s)
		}
		for _, n := range s.Nodes {
			if n.Role == "nonvoter" {
				return fmt.Errorf("%s has no vote", n.Name)
			}
		}
		return nil
	})
	c.Kill(0)
	c.Delay(0)
	c.Leader()
}

// A node that is too old for the cluster cannot join, and the answer gives the reason.
func TestTooOldANode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 1)
	c.Nodes[0].WaitLog("cluster certificate made") // before that no node can join
	id := strings.Repeat("ab", 16)
	m, err := mesh.Open(t.Context(), mesh.Config{
		Listen: nodetest.Address(9, nodetest.Port), NodeID: id, Secret: []byte(nodetest.Secret), Net: c.Host(9),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	key, err := mesh.NewNodeKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := mesh.NewRequest(key, id)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(level int) (err error) {
		for range 10 { // a loaded machine can take longer over a handshake than the product waits
			_, err = m.Ask(t.Context(), c.Nodes[0].Setup.Listen, "join", map[string]any{
				"id": id, "name": "old", "address": nodetest.Address(9, nodetest.Port), "version": "0.1", "level": level, "csr": csr,
			})
			if !errors.Is(err, mesh.ErrUnreachable) {
				break
			}
		}
		return err
	}
	var told *mesh.RemoteError
	if err := ask(1); !errors.As(err, &told) || !strings.Contains(told.Text, "version 0.1, which is too old for this cluster") {
		t.Errorf("a node of level 1: %v", err)
	}
	if got := names(c, 0); len(got) != 1 {
		t.Errorf("nodes %v", got)
	}
	if err := ask(99); err != nil {
		t.Errorf("a newer node: %v", err)
	}
}

// A node that was away for longer than the log reaches back is sent a snapshot,
// while writes go on, and serves.
func TestSnapshotIsInstalled(t *testing.T) {
	t.Parallel()
	c := nodetest.New(t, 3, nodetest.WithTune(func(c *raft.Config) {
		c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 100*time.Millisecond, 50, 50
	}))
	for _, n := range c.Nodes {
		n.Setup.Level = "debug"
		n.Start()
	}
	c.WaitHealthy()
	away := c.Follower()
	c.Kill(away)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var made atomic.Int64
	for w := range 8 {
		api := c.API(c.Leader())
		all.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				if _, err := api.CreateKey(context.Background(), newKey(fmt.Sprintf("w%d-%d", w, k))); err == nil {
					made.Add(1)
				}
			}
		})
	}
	defer all.Wait()
	defer cancel()
	many := func(n int64) {
		end := made.Load() + n
		c.Until("writes were made", func() error {
			if made.Load() < end {
				return errors.New("they were not")
			}
			return nil
		})
	}
	many(300)
	id, key := c.Key(c.Leader(), "meanwhile")
	n := c.Nodes[away]
	n.Start()
	// While it catches up it serves no request, and a read waits until it has.
	c.Until("it answers a read", func() error {
		_, err := n.API().GetKey(t.Context(), id)
		if code(err) == fault.NotFound {
			t.Fatal("a read misses what was answered before it")
		}
		return err
	})
	n.WaitLog("Installed remote snapshot")
	c.WaitReady(away)
	many(100)
	if a := n.Get(key); a.Status != 200 {
		t.Errorf("the node that was away answers %v", a)
	}
	cancel()
	all.Wait()
	c.WaitHealthy()
}

// A removed node ends with the reason soon after it has lost its leader, also when the
// others have another secret by then, by which it cannot ask them.
func TestRemovedNodeLearnsOfIt(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	out := c.Follower()
	next := strings.Repeat("the-next-secret-", 3)
	for i, n := range c.Nodes {
		if i != out {
			n.Setup.Secret = next
			n.Reload()
		}
	}
	c.Until("the removal is answered", func() error {
		_, err := c.API(c.Leader()).RemoveNode(t.Context(), c.Nodes[out].Setup.Name)
		return err
	})
	if exit := c.Nodes[out].WaitExit(); exit != 1 {
		t.Errorf("exit code %d", exit)
	}
	if c.Nodes[out].Log.Count("this node was removed from the cluster") == 0 {
		t.Error("its log does not say why")
	}
}
