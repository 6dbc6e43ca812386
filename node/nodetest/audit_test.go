package nodetest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/chain/export"
)

// One log over all nodes: whichever node is asked, its export holds the requests of all
// nodes and all changes, in order, and is proven; a node that is down is named, and its
// events are there again once it is back. A head that was kept is found again.
func TestAuditOverAllNodes(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	_, key := c.Key(c.Leader(), "audited")
	for i, n := range c.Nodes {
		for range i + 1 {
			if a := n.Get(key); a.Status != 200 {
				t.Fatalf("node %d: %s", i, a)
			}
		}
	}
	read := func(node int, format string) []byte {
		t.Helper()
		var out bytes.Buffer
		c.Until("an export", func() error {
			out.Reset()
			return c.API(node).AuditLogs(t.Context(), client.AuditQuery{Format: format}, &out)
		})
		return out.Bytes()
	}
	verify := func(raw []byte, kept ...chain.HeadFile) *chain.Report {
		t.Helper()
		r, err := export.Verify(bytes.NewReader(raw), chain.Trust{Kept: kept})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var kept chain.HeadFile
	c.Until("signed heads of all nodes", func() error {
		h, err := c.API(0).AuditHead(t.Context(), "")
		if err != nil {
			return err
		}
		raw, _ := json.Marshal(h)
		kept = chain.HeadFile{}
		if err := json.Unmarshal(raw, &kept); err != nil {
			t.Fatal(err)
		}
		of := map[string]bool{} // the changes, and each node; one that refused a request has two heads
		for _, k := range kept.Data {
			of[k.Head.Node] = true
		}
		if len(of) != 4 || len(kept.Missing) > 0 {
			return fmt.Errorf("heads of %v, missing %v", of, kept.Missing)
		}
		return nil
	})
	for node, format := range []string{"json", "ndjson", "csv"} {
		raw := read(node, format)
		r := verify(raw, kept)
		if len(r.Findings) > 0 || r.Compared < 2 || len(r.Missing) > 0 || strings.Count(string(raw), "/x") < 6 {
			t.Errorf("node %d: %+v\n%.2000s", node, r, raw)
		}
	}
	down := c.Follower()
	name := c.Nodes[down].Setup.Name
	c.Kill(down)
	other := slices.IndexFunc(c.Nodes, func(n *nodetest.Node) bool { return n != c.Nodes[down] })
	c.WaitReady(other)
	r := verify(read(other, "ndjson"), kept)
	if len(r.Findings) > 0 || len(r.Missing) != 1 || r.Missing[0].Node != name {
		t.Errorf("with node %s down: %+v", name, r)
	}
	c.Restart(down)
	c.WaitReady()
	c.Until("an export over all nodes again", func() error {
		if r := verify(read(other, "json"), kept); len(r.Findings) > 0 || len(r.Missing) > 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}
