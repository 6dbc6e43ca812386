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

// A secret that is changed by a reload lets new nodes in, the old one none; those
// that are members notice nothing.
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
	n.Start() // with the old one
	waiting(t, c, 3, "the cluster secrets differ")
	c.Stop(3)
	n.Setup.Secret = next
	c.Delay(60 * time.Millisecond) // it takes its time until it is heard of as a member
	n.Start()
	oneCluster(t, c, 4)
	c.Delay(0)
	c.WaitHealthy()
	for _, n := range c.Nodes {
		if n.Said("a node is not heard of any more") > 0 {
			t.Errorf("%s misses a node that has just joined", n.Setup.Name)
		}
	}
}

// A node that is too old for the cluster is not let in, and is told so.
func TestTooOldANode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 1)
	c.Nodes[0].WaitLog("cluster certificate made") // before that nobody is let in
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
	ask := func(level int) error {
		_, err := m.Ask(t.Context(), c.Nodes[0].Setup.Listen, "join", map[string]any{
			"id": id, "name": "old", "address": nodetest.Address(9, nodetest.Port), "version": "0.1", "level": level, "csr": csr,
		})
		return err
	}
	var told *mesh.RemoteError
	if err := ask(1); !errors.As(err, &told) || !strings.Contains(told.Text, "version 0.1, which is too old for this cluster") {
		t.Errorf("a node of level 1: %v", err)
	}
	if got := names(t, c, 0); len(got) != 1 {
		t.Errorf("nodes %v", got)
	}
	if err := ask(2); err != nil {
		t.Errorf("a node of level 2: %v", err)
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
	// While it catches up it serves nobody, and what it is asked waits until it has.
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
