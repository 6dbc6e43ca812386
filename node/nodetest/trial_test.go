package nodetest_test

import (
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// TestTrialOutlivesItsLeader: an allowlist that shuts everybody out is reverted in time,
// although the leader that took it is dead, and nobody is there to ask for it.
func TestTrialOutlivesItsLeader(t *testing.T) {
	c := nodetest.Start(t, 3)
	_, key := c.Key(0, "shut out")
	if _, err := c.API(0).Accounts().Update(t.Context(), "default", client.Patch{"tier": "enterprise"}); err != nil {
		t.Fatal(err)
	}
	leader := c.Leader()
	list := map[string]any{"entries": []client.AllowEntry{{CIDR: "203.0.113.0/24"}}, "confirm_within": "15s"}
	if err := c.API(leader).Do(t.Context(), "PUT", "/v1/allowlist", nil, list, nil); err != nil {
		t.Fatal(err)
	}
	if a := c.Nodes[leader].Get(key); a.Status != 403 {
		t.Fatalf("with the list on trial, a request gets %v", a)
	}
	c.Kill(leader)
	for i := range c.Nodes {
		if i == leader {
			continue
		}
		c.Until("the list from before is back", func() error {
			if a := c.Nodes[i].Get(key); a.Status != 200 {
				return fmt.Errorf("a request gets %v", a)
			}
			return nil
		})
	}
	var events client.List[client.Event]
	if err := c.API(c.Leader()).Do(t.Context(), "GET", "/v1/audit-logs", map[string][]string{"action": {"allowlist.revert"}, "limit": {"10"}}, nil, &events); err != nil {
		t.Fatal(err)
	}
	if len(events.Data) != 1 || events.Data[0].Actor.Type != "system" || events.Data[0].Reason != "not confirmed" {
		t.Errorf("the reverts are %+v", events.Data)
	}
}
