package nodetest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// An incident with 10,000 keys on three nodes is over within a minute, for either action;
// its report, which asks all nodes, is signed.
func TestLargeIncident(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 keys")
	}
	c := nodetest.Start(t, 3)
	c.WaitHealthy()
	ctx := context.Background()
	_, used := c.Key(0, "used")
	for i := range 6 {
		if got := c.Nodes[i%3].Get(used).Status; got != 200 {
			t.Errorf("request %d: %d", i, got)
		}
	}
	const n = 10_000
	var lines strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&lines, `{"name":"k","type":"live","key":"an-imported-key-%09d"}`+"\n", i)
	}
	if _, err := c.API(0).ImportKeys(ctx, strings.NewReader(lines.String())); err != nil {
		t.Fatal(err)
	}
	live := "live"
	for _, action := range []string{"rotate", "revoke"} {
		began := time.Now()
		in, err := client.Incidents{Client: c.API(c.Follower())}.Open(ctx, client.NewIncident{Title: "t", Match: &client.IncidentMatch{Type: &live}, Action: action, Freeze: true})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("%s of %d keys in %v", action, n, took.Round(time.Millisecond))
		if in.Revoked+in.Rotated != n || len(in.NewKeys) != in.Rotated || len(in.Failed) != 0 || !in.Revocation.Effective || took > time.Minute {
			t.Errorf("%s: %d revoked, %d rotated, %d new, %d failed, in %v", action, in.Revoked, in.Rotated, len(in.NewKeys), len(in.Failed), took)
		}
		if action == "rotate" {
			var report strings.Builder
			c.Until("the cluster has a key to sign with", func() error {
				report.Reset()
				return client.Incidents{Client: c.API(1)}.Report(ctx, in.ID, false, &report)
			})
			if !strings.Contains(report.String(), `"requests":6,`) || !strings.Contains(report.String(), `"missing":[]`) {
				t.Errorf("the report does not have the six requests of three nodes")
			}
		}
		if _, err := (client.Incidents{Client: c.API(0)}).Close(ctx, in.ID); err != nil {
			t.Error(err)
		}
	}
	if got := c.Nodes[0].Get(used); got.Status != 401 {
		t.Errorf("a key that was rotated: %v", got)
	}
}
