package nodetest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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
	c := nodetest.Start(t, 3)
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
	for i := range imports {
		var lines strings.Builder
		for j := range keys {
			fmt.Fprintf(&lines, "{\"name\":\"import %d\",\"type\":\"live\",\"key\":\"sk-foreign-%d-%010d\"}\n", i, i, j)
		}
		api := c.API(i % len(c.Nodes))
		importing.Go(func() {
			_, err := api.ImportKeys(t.Context(), strings.NewReader(lines.String()))
			if got := code(err); got != "" && got != fault.TooBusy {
				t.Errorf("import %d: %v", i, err)
			}
		})
	}
	importing.Wait()
	stop()
	asking.Wait()
	if admitted.Load() == 0 {
		t.Error("no request was admitted")
	}
	t.Logf("%d requests were admitted beside %d imports of %d keys", admitted.Load(), imports, keys)
	c.WaitHealthy()
}
