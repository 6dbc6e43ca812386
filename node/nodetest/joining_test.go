package nodetest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perfgate/perfgate/node/nodetest"
)

// A node that has joined and starts again before its log has an entry goes on joining: it
// lost nothing.
func TestJoinerStartsAgain(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 1)
	_, key := c.Key(0, "a")
	joiner := c.Add()
	var refused atomic.Int64
	joiner.Setup.Files = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, "/JOINING") {
			refused.Add(1) // so that its log gets no entry
			return errors.New("not yet")
		}
		return nil
	}))
	joiner.Start()
	c.Until("the leader sends the joiner its log", func() error {
		if refused.Load() == 0 {
			return errors.New("it has sent nothing")
		}
		return nil
	})
	id := nodeID(t, joiner)
	joiner.Kill()
	joiner.Setup.Files = nil
	joiner.Start()
	c.WaitHealthy()
	if after := nodeID(t, joiner); after != id {
		t.Error("it has another id")
	}
	if n := joiner.Said("it joins its cluster as a new node"); n > 0 {
		t.Error("it counts as damaged")
	}
	if a := joiner.Get(key); a.Status != 200 {
		t.Errorf("a key: %v", a)
	}
	if _, err := os.Stat(filepath.Join(joiner.Dir, "JOINING")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the note that it joins is still there: %v", err)
	}
}

// A node whose list of nodes leads only to itself has nobody to take its data from: with a
// damaged log it does not start, says how to go on, and changes nothing.
func TestDamagedLogOfANodeWithoutOthers(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 1, func(_ int, s *nodetest.Setup) { s.Join = []string{s.Listen} })
	_, key := c.Key(0, "a")
	c.Kill(0)
	n := c.Nodes[0]
	file := newest(t, n, "raftlog/*.log", 400)
	flip(t, file, -100, 3)
	before := entries(t, n)
	err := n.Try()
	for _, want := range []string{filepath.Base(file), "perfgate restore FILE --data-dir DIR"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if after := entries(t, n); after != before {
		t.Errorf("the data directory had %s and has %s", before, after)
	}
	flip(t, file, -100, 3)
	n.Start()
	c.WaitReady()
	// After a crash, buckets are as empty as they may be.
	c.Until("a key is admitted, once the file is as it was", func() error {
		if a := n.Get(key); a.Status != 200 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
}

// entries lists the entries of a node's data directory.
func entries(t *testing.T, n *nodetest.Node) string {
	t.Helper()
	list, err := os.ReadDir(n.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
