package nodetest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// hanging is a disk of which each fsync below a folder waits while it hangs.
type hanging struct {
	vfs.FS
	mu  sync.Mutex
	dir string        // the folder, "" while the disk is good
	end chan struct{} // closed when it is good again
	hit atomic.Int64  // fsyncs that waited
}

func newHanging() *hanging {
	h := &hanging{}
	h.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		default:
			return nil
		}
		h.mu.Lock()
		dir, end := h.dir, h.end
		h.mu.Unlock()
		if dir != "" && (op.Path == dir || strings.HasPrefix(op.Path, dir+"/")) {
			h.hit.Add(1)
			<-end
		}
		return nil
	}))
	return h
}

func (h *hanging) hang(dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dir, h.end = dir, make(chan struct{})
	h.hit.Store(0)
}

func (h *hanging) heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dir != "" {
		h.dir = ""
		close(h.end)
	}
}

// Whichever folder of the leader's disk hangs, writes go on through the other nodes, on
// which no request fails.
func TestHangingFolders(t *testing.T) {
	disks := make([]*hanging, 3)
	// The lease is to the limit of the disk what the product's is, or more.
	c := nodetest.Start(t, 3, nodetest.WithLease(9*time.Second), func(i int, s *nodetest.Setup) {
		disks[i] = newHanging()
		s.Files, s.DiskLimit = disks[i], 3*time.Second
		s.Tune = func(c *raft.Config) { c.SnapshotInterval, c.SnapshotThreshold = 200*time.Millisecond, 4 }
	})
	t.Cleanup(func() {
		for _, d := range disks {
			d.heal()
		}
	})
	_, key := c.Key(0, "busy")
	dirs := []string{"state", "raftlog", "snapshots"}
	if os.Getenv("PERFGATE_TORTURE") != "" {
		dirs = append(dirs, "local", "cluster", "") // the last is all of them
	}
	for _, dir := range dirs {
		t.Run("folder "+dir, func(t *testing.T) {
			hangFolder(t, c, disks, dir, key)
		})
	}
}

func hangFolder(t *testing.T, c *nodetest.Cluster, disks []*hanging, dir, key string) {
	leader := c.Leader()
	var others []*nodetest.Node
	for i, n := range c.Nodes {
		if i != leader {
			others = append(others, n)
		}
	}
	for _, n := range others { // units of the month come from the leader
		c.Until(n.Setup.Name+" admits requests", func() error {
			if a := n.Get(key); a.Status != 200 {
				return fmt.Errorf("it answers %v", a)
			}
			return nil
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	var admitted atomic.Int64
	for _, n := range others {
		proxy := n.Proxy()
		asking.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				switch a := n.RequestAt(proxy, "GET", "/x", key); a.Code {
				case "":
					admitted.Add(1)
				case string(fault.RequestsPerMinute): // the tier's, as on any day
				default:
					t.Errorf("%s answers %v", n.Setup.Name, a)
					return
				}
				<-pace.C
			}
		})
	}
	// The others fetch the units of the month that they need for a while.
	c.Until("the other nodes have admitted some requests", func() error {
		if got := admitted.Load(); got < 200 {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	disk := disks[leader]
	disk.hang(filepath.Join(c.Nodes[leader].Dir, dir))
	began := time.Now()
	var worst time.Duration
	// Writes go on for longer than it takes to notice: the longest of them is the gap.
	for i, ended := 0, false; !ended && time.Since(began) < 8*time.Second; i++ {
		ended = c.Nodes[leader].Failed() != nil
		from := time.Now()
		c.Within(30*time.Second, "a write is accepted though "+dir+" hangs", func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := others[i%2].API().CreateKey(ctx, newKey("hung"))
			return err
		})
		worst = max(worst, time.Since(from))
	}
	stop()
	asking.Wait()
	t.Logf("%q: the longest write took %v, %d fsyncs waited, %d requests on the others", dir, worst.Round(time.Millisecond), disk.hit.Load(), admitted.Load())
	if admitted.Load() == 0 {
		t.Error("no request was admitted")
	}
	// A limit of 3 s, and an election of a second or two.
	if worst > 8*time.Second+slack {
		t.Errorf("the longest write took %v", worst)
	}
	failed := c.Nodes[leader].Failed()
	disk.heal()
	if failed == nil && disk.hit.Load() > 0 && slices.Contains([]string{"state", "raftlog", "snapshots", ""}, dir) {
		t.Error("the leader goes on with a disk that hangs")
	}
	if failed != nil {
		c.Nodes[leader].WaitExit()
		c.Nodes[leader].Start()
	}
	c.WaitHealthy()
}
