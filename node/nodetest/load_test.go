package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// Imports from all sides take no node its lease: requests are admitted on every node
// while the log is full of large commands.
func TestImportsBesideRequests(t *testing.T) {
	imports, keys := 9, 4000
	if os.Getenv("PERFGATE_TORTURE") != "" {
		imports, keys = 40, 10_000 // as large as an import may be
	}
	c := nodetest.Start(t, 3, nodetest.WithLease(5*time.Second)) // the product's
	_, key := c.Key(c.Leader(), "busy")
	ctx, stop := context.WithCancel(t.Context())
	var asking, importing sync.WaitGroup
	var admitted atomic.Int64
	for _, n := range c.Nodes {
		proxy := n.Proxy()
		asking.Go(func() {
			for ctx.Err() == nil {
				switch a := n.RequestAt(proxy, "GET", "/x", key); a.Code {
				case "":
					admitted.Add(1)
				case string(fault.RequestsPerMinute): // the tier's, as on any day
				default:
					t.Errorf("%s answers %v", n.Setup.Name, a)
					return
				}
			}
		})
	}
	importAll(t, c, &importing, imports, keys, func(err error) bool {
		// On a machine that is too busy, an import may take longer than it is waited for.
		return code(err) == fault.UnknownOutcome || errors.Is(err, context.DeadlineExceeded)
	})
	importing.Wait()
	stop()
	asking.Wait()
	if admitted.Load() == 0 {
		t.Error("no request was admitted")
	}
	t.Logf("%d requests were admitted beside %d imports of %d keys", admitted.Load(), imports, keys)
	c.WaitHealthy()
}

// importAll begins imports of so many keys each at all nodes, which may find them too busy. may
// reports whether another error is no fault.
func importAll(t *testing.T, c *nodetest.Cluster, all *sync.WaitGroup, imports, keys int, may func(error) bool) {
	for i := range imports {
		var lines strings.Builder
		for j := range keys {
			fmt.Fprintf(&lines, "{\"name\":\"import %d\",\"type\":\"live\",\"key\":\"sk-foreign-%d-%010d\"}\n", i, i, j)
		}
		api := c.API(i % len(c.Nodes))
		all.Go(func() {
			_, err := api.ImportKeys(t.Context(), strings.NewReader(lines.String()))
			if got := code(err); got != "" && got != fault.TooBusy && !may(err) {
				t.Errorf("import %d: %v", i, err)
			}
		})
	}
}

// A node that applies changes far slower than the others keeps its lease during imports: each
// part costs it a third of a second here, as on a machine that does ten times too much.
func TestImportsBesideASlowNode(t *testing.T) {
	const imports, keys = 6, 3000
	c := nodetest.New(t, 3, nodetest.WithLease(5*time.Second)) // the product's
	var slow atomic.Bool
	for _, n := range c.Nodes {
		n.Setup.Applying = func(logs []*raft.Log) {
			for _, l := range logs {
				if len(l.Data) > 8<<10 && slow.Load() && n.Setup.Name == "n3" {
					<-time.After(time.Second / 3)
				}
			}
		}
		n.Start()
	}
	c.WaitHealthy()
	if c.Leader() == 2 {
		c.Until("another node leads", func() error {
			_, err := c.API(0).TransferLeadership(t.Context(), "n1")
			return err
		})
	}
	_, key := c.Key(0, "busy")
	slow.Store(true)
	ctx, stop := context.WithCancel(t.Context())
	var asking, importing sync.WaitGroup
	proxy := c.Nodes[2].Proxy()
	asking.Go(func() {
		poll := time.NewTicker(5 * time.Millisecond)
		defer poll.Stop()
		for ; ctx.Err() == nil; <-poll.C {
			if a := c.Nodes[2].RequestAt(proxy, "GET", "/x", key); a.Code != "" && a.Code != string(fault.RequestsPerMinute) {
				t.Errorf("the slow node answers %v", a)
				return
			}
		}
	})
	importAll(t, c, &importing, imports, keys, func(error) bool { return false })
	importing.Wait()
	stop()
	asking.Wait()
	slow.Store(false)
	c.WaitHealthy()
}
