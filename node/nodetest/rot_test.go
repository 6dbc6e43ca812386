package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/nodetest"
)

// remove takes entries out of a node's data directory.
func remove(t *testing.T, n *nodetest.Node, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(n.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// newest is the file with the highest name among those of the pattern in a node's data
// directory that have more than min bytes.
func newest(t *testing.T, n *nodetest.Node, pattern string, min int64) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(n.Dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if info, err := os.Stat(name); err == nil && info.Size() > min {
			return name
		}
	}
	t.Fatalf("no file %s has more than %d bytes: %q", pattern, min, names)
	return ""
}

// flip changes one bit of a file: of the byte at off, or of the one at -off from its end.
func flip(t *testing.T, path string, off int64, bit byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if off < 0 {
		off += int64(len(raw))
	}
	raw[off] ^= 1 << bit
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// cut takes n bytes off the end of a file.
func cut(t *testing.T, path string, n int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-n)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A node whose log is gone or has lost its end does not vote as the one that it was: it
// sets its data aside and comes back as a new node, in the place of the old one.
func TestLostLogOfAMember(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(n *nodetest.Node){
		"log and state are gone":    func(n *nodetest.Node) { remove(t, n, "raftlog", "raftlog.end", "state", "snapshots") },
		"the log is gone":           func(n *nodetest.Node) { remove(t, n, "raftlog") },
		"log and witness are gone":  func(n *nodetest.Node) { remove(t, n, "raftlog", "raftlog.end") },
		"a bit of the log's end":    func(n *nodetest.Node) { flip(t, newest(t, n, "raftlog/*.log", 400), -100, 3) },
		"the end of the log is cut": func(n *nodetest.Node) { cut(t, newest(t, n, "raftlog/*.log", 1000), 600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := nodetest.Start(t, 3)
			_, key := c.Key(0, "a")
			gone, revoked := c.Key(0, "b")
			if _, err := c.API(0).RevokeKey(t.Context(), gone, ""); err != nil {
				t.Fatal(err)
			}
			bad := c.Follower()
			id, before := status(c, bad).ClusterID, nodeID(t, c.Nodes[bad])
			c.Kill(bad)
			lose(c.Nodes[bad])
			c.Nodes[bad].Start()
			c.WaitHealthy()
			if c.Nodes[bad].Said("it joins its cluster as a new node") != 1 {
				t.Error("its log does not say what it does")
			}
			if after := nodeID(t, c.Nodes[bad]); after == before {
				t.Error("it has its old id")
			}
			if s := status(c, bad); s.ClusterID != id || len(s.Nodes) != 3 {
				t.Errorf("status %+v", s)
			}
			if a := c.Nodes[bad].Get(key); a.Status != 200 {
				t.Errorf("a key: %v", a)
			}
			if a := c.Nodes[bad].Get(revoked); a.Status != 401 {
				t.Errorf("a revoked key: %v", a)
			}
			if kept, err := filepath.Glob(filepath.Join(c.Nodes[bad].Dir, "damaged-*", "boot")); err != nil || len(kept) != 1 {
				t.Errorf("its data is not kept: %q, %v", kept, err)
			}
		})
	}
}

// A damaged state is made again from snapshots and log: the node stays the one that it
// was, and needs no other.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 3} {
		for _, file := range []string{"state/MANIFEST-*", "state/*.log", "state/OPTIONS-*"} {
			t.Run(fmt.Sprint(nodes, file), func(t *testing.T) {
				t.Parallel()
				c := nodetest.Start(t, nodes)
				_, key := c.Key(0, "a")
				bad := nodes - 1
				before := nodeID(t, c.Nodes[bad])
				c.Kill(bad)
				flip(t, newest(t, c.Nodes[bad], file, 100), 80, 1)
				c.Nodes[bad].Start()
				c.WaitHealthy()
				if c.Nodes[bad].Said("the state is damaged; it is made again") != 1 {
					t.Error("its log does not say what it does")
				}
				if after := nodeID(t, c.Nodes[bad]); after != before {
					t.Error("it has another id")
				}
				// After a crash, buckets are as empty as they may be.
				c.Until("a key is admitted", func() error {
					if a := c.Nodes[bad].Get(key); a.Status != 200 {
						return fmt.Errorf("%v", a)
					}
					return nil
				})
			})
		}
	}
}

// Nodes that have all lost their logs begin no new cluster: its empty state would lock
// out what is left of the old one.
func TestLostLogsOfAll(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	for i, n := range c.Nodes {
		c.Kill(i)
		remove(t, n, "raftlog", "state", "snapshots")
	}
	for _, n := range c.Nodes {
		n.Start()
	}
	for _, n := range c.Nodes {
		n.WaitLog("this node had damaged data, which it set aside, and waits for one")
	}
	for i := range c.Nodes {
		if s := status(c, i); s != nil {
			t.Errorf("n%d has a cluster: %+v", i+1, s)
		}
	}
}

// The identity is kept in the log, too: damage of its files does not make the node
// another one, or one that starts again before it has.
func TestDamagedIdentity(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	bad := c.Follower()
	before := nodeID(t, c.Nodes[bad])
	for name, content := range map[string]string{"node-id": "0" + before[1:] + "\n", "boot": "0\n"} {
		for _, text := range []string{content, "\x00\xff", ""} {
			c.Kill(bad)
			if err := os.WriteFile(filepath.Join(c.Nodes[bad].Dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c.Nodes[bad].Start()
			c.WaitReady(bad)
			if after := nodeID(t, c.Nodes[bad]); after != before {
				t.Errorf("%s holding %q: the node is another one", name, text)
			}
		}
	}
	c.Until("a key is created there", func() error {
		_, err := c.API(bad).CreateKey(context.Background(), newKey("a"))
		if err != nil {
			return errors.New(err.Error())
		}
		return nil
	})
}

// A node whose certificate is damaged says so and ends; started again, it joins its cluster
// as a new node.
func TestDamagedCertificate(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	bad := c.Follower()
	n, before := c.Nodes[bad], nodeID(t, c.Nodes[bad])
	c.Kill(bad)
	flip(t, filepath.Join(n.Dir, "cluster", "node.pem"), 200, 4)
	if err := n.Try(); err == nil || !strings.Contains(err.Error(), "node.pem") || !strings.Contains(err.Error(), "started again") {
		t.Errorf("the start: %v", err)
	}
	n.Start()
	c.WaitHealthy()
	if after := nodeID(t, n); after == before {
		t.Error("it has its old id")
	}
}

// A snapshot in whose files a bit differs is not sent to a node that joins: another one is
// taken of the state, which is whole.
func TestDamagedSnapshotIsNotSent(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 1, nodetest.WithTune(func(r *raft.Config) {
		r.SnapshotInterval, r.SnapshotThreshold, r.TrailingLogs = 20*time.Millisecond, 10, 1
	}))
	var revoked []string
	for i := range 20 {
		id, key := c.Key(0, fmt.Sprint(i))
		if _, err := c.API(0).RevokeKey(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
		revoked = append(revoked, key)
	}
	_, key := c.Key(0, "good")
	c.Stop(0)
	harmed := 0
	for _, pattern := range []string{"snapshots/*/checkpoint/*.log", "snapshots/*/checkpoint/MANIFEST-*"} {
		names, err := filepath.Glob(filepath.Join(c.Nodes[0].Dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Size() > 300 {
				flip(t, name, -200, 2)
				harmed++
			}
		}
	}
	if harmed < 2 {
		t.Fatalf("%d files were harmed", harmed)
	}
	// No other snapshot is taken by the number of entries before the damaged one is read.
	c.Nodes[0].Setup.Tune = func(r *raft.Config) { r.SnapshotInterval, r.TrailingLogs = time.Hour, 1 }
	c.Nodes[0].Start()
	c.WaitReady(0)
	added := c.Add()
	added.Start()
	c.WaitReady()
	c.Until("a key is admitted on the new node", func() error {
		if a := added.Get(key); a.Status != 200 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	for _, key := range revoked {
		if a := added.Get(key); a.Status != 401 {
			t.Errorf("a revoked key on the new node: %v", a)
		}
	}
	if c.Nodes[0].Said("a snapshot is damaged and is not used") == 0 {
		t.Error("nothing names the snapshot")
	}
}

// A leader whose state has a damaged table cannot send it to a node that joins: another node
// leads, and sends its own. The damaged one goes on meanwhile, for it is one of two voters.
func TestLeaderWithADamagedTable(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3, nodetest.WithTune(func(r *raft.Config) {
		r.SnapshotInterval, r.SnapshotThreshold, r.TrailingLogs = 20*time.Millisecond, 10, 10
	}))
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "{\"name\":\"import %d\",\"type\":\"live\",\"key\":\"sk-foreign-%010d\"}\n", i, i)
	}
	c.Until("keys are imported", func() error {
		_, err := c.API(0).ImportKeys(t.Context(), strings.NewReader(lines.String()))
		return err
	})
	bad := c.Follower()
	n := c.Nodes[bad]
	c.Wipe(bad) // the state that it gets is one table
	n.Start()
	c.WaitHealthy()
	c.Until(n.Setup.Name+" leads", func() error {
		if c.Leader() == bad {
			return nil
		}
		_, err := c.API(bad).TransferLeadership(context.Background(), n.Setup.Name)
		return errors.Join(errors.New("another one does"), err)
	})
	table := newest(t, n, "state/*.sst", 100_000)
	info, err := os.Stat(table)
	if err != nil {
		t.Fatal(err)
	}
	if err := flipAt(table, info.Size()/2, 1); err != nil { // in place: snapshots share the file
		t.Fatal(err)
	}
	var good []string
	for i := range 40 { // its snapshots are of the damaged state
		_, key := c.Key(bad, fmt.Sprint(i))
		good = append(good, key)
	}
	joins := c.Follower(bad)
	c.Wipe(joins)
	c.Nodes[joins].Start()
	c.WaitReady()
	c.Until("the node that joined votes, and the damaged state is the only fault that is reported", func() error {
		s, err := c.API(c.Leader()).Cluster(t.Context())
		if err != nil {
			return err
		}
		if len(s.Reasons) != 1 || !strings.HasPrefix(s.Reasons[0], n.Setup.Name+": a file of its state is damaged") {
			return fmt.Errorf("%q", s.Reasons)
		}
		return nil
	})
	if n.Said("this node has handed the leadership over") == 0 {
		t.Error("the leader whose state is damaged has not said that another one leads")
	}
	for _, key := range good {
		if a := c.Nodes[joins].Get(key); a.Status == 401 {
			t.Errorf("the node that joined answers %v to a good key", a)
		}
	}
}
