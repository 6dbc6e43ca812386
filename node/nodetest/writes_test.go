package nodetest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// A write through any node is seen by the next request to every node's proxy.
func TestWritesAnywhere(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	for i := range c.Nodes {
		w := &anywhere{t, c, i}
		w.keys()
		w.expiry()
		w.allowlist()
		w.endings()
		w.accounts()
	}
}

// anywhere makes writes through node i and checks that all nodes see them.
type anywhere struct {
	t *testing.T
	c *nodetest.Cluster
	i int
}

func (w *anywhere) at(write string) string { return fmt.Sprintf("%s on n%d", write, w.i+1) }

// made checks the error of a write.
func (w *anywhere) made(write string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", w.at(write), err)
	}
}

// key makes a key, which is good everywhere.
func (w *anywhere) key(name string) (id, key string) {
	w.t.Helper()
	id, key = w.c.Key(w.i, name)
	everywhere(w.t, w.c, w.at("create"), key, "200")
	return id, key
}

func (w *anywhere) update(id, write string, p client.Patch) {
	w.t.Helper()
	k, err := w.c.API(w.i).UpdateKey(w.t.Context(), id, p)
	w.made(write, err)
	effective(w.t, w.at(write), k.Revocation)
}

// keys changes each property of a key and changes it back.
func (w *anywhere) keys() {
	id, key := w.key("state")
	for _, change := range []struct {
		write string
		patch client.Patch
		want  string
	}{
		{"disable", client.Patch{"state": "disabled"}, "401 key_disabled"},
		{"enable", client.Patch{"state": "active"}, "200"},
		{"scopes", client.Patch{"scopes": []string{"write"}}, "403 insufficient_scope"},
		{"scopes back", client.Patch{"scopes": []string{"read"}}, "200"},
		{"key's allowlist", client.Patch{"allowlist": []string{"192.0.2.1/32"}}, "403 ip_not_allowed"},
		{"key's allowlist cleared", client.Patch{"allowlist": []string{}}, "200"},
	} {
		w.update(id, change.write, change.patch)
		everywhere(w.t, w.c, w.at(change.write), key, change.want)
	}
	w.update(id, "limits", client.Patch{"limits": map[string]any{"requests_per_minute": 7}})
	limited(w.t, w.c, w.at("limits"), key, "7")
	w.update(id, "limits cleared", client.Patch{"limits": nil})
	limited(w.t, w.c, w.at("limits cleared"), key, "3000")
}

// expiry ends a key at a time of each node's wall clock.
func (w *anywhere) expiry() {
	const soon = 5 * time.Second // a loaded machine must send the request before that
	id, key := w.key("expiry")
	w.update(id, "expiry", client.Patch{"expires_at": time.Now().Add(soon)})
	for _, n := range w.c.Nodes {
		w.c.Within(soon+slack, w.at("expiry")+", "+n.Setup.Name+" refuses the key", func() error {
			if a := n.Get(key); a.Code != "key_expired" {
				return fmt.Errorf("it answers %v", a)
			}
			return nil
		})
	}
}

// allowlist sets and clears the account's list.
func (w *anywhere) allowlist() {
	api := w.c.API(w.i)
	list, err := api.SetAllowlist(w.t.Context(), []client.AllowEntry{{CIDR: "192.0.2.0/24"}}, client.Force())
	w.made("allowlist", err)
	effective(w.t, w.at("allowlist"), list.Revocation)
	_, key := w.c.Key(w.i, "allowlist")
	everywhere(w.t, w.c, w.at("allowlist"), key, "403 ip_not_allowed")
	_, err = api.SetAllowlist(w.t.Context(), nil)
	w.made("allowlist cleared", err)
	everywhere(w.t, w.c, w.at("allowlist cleared"), key, "200")
}

// endings ends keys in each way.
func (w *anywhere) endings() {
	api, ctx := w.c.API(w.i), w.t.Context()
	id, key := w.key("revoke")
	gone, err := api.RevokeKey(ctx, id, "leaked")
	w.made("revoke", err)
	effective(w.t, w.at("revoke"), gone.Revocation)
	everywhere(w.t, w.c, w.at("revoke"), key, "401 key_revoked")

	id, key = w.key("rotate")
	next, err := api.RotateKey(ctx, id, "0s")
	w.made("rotate", err)
	everywhere(w.t, w.c, w.at("rotate, the old key"), key, "401 key_revoked")
	everywhere(w.t, w.c, w.at("rotate, the new key"), *next.Secret, "200")

	id, key = w.key("bulk")
	many, err := api.RevokeKeys(ctx, client.BulkRevocation{IDs: []string{id}})
	w.made("bulk", err)
	effective(w.t, w.at("bulk"), many.Revocation)
	everywhere(w.t, w.c, w.at("bulk"), key, "401 key_revoked")
}

// accounts makes another account with a tier of its own, changes both and deletes it.
func (w *anywhere) accounts() {
	api, ctx := w.c.API(w.i), w.t.Context()
	tier, limit := fmt.Sprintf("tier-%d", w.i+1), int64(1000)
	_, err := api.Tiers().Create(ctx, client.Tier{Name: tier, Live: client.Limits{PerMinute: &limit, PerMonth: &limit}, Test: client.Limits{PerMinute: &limit, PerMonth: &limit}})
	w.made("tier created", err)
	account, err := api.Accounts().Create(ctx, client.NewAccount{Name: "Acme", Tier: tier})
	w.made("account created", err)
	other := w.c.API(w.i)
	other.Account = account.ID
	acme, err := other.CreateKey(ctx, newKey("acme"))
	w.made("the account's key", err)
	key := *acme.Secret
	everywhere(w.t, w.c, w.at("account"), key, "200")
	changed, err := api.Tiers().Update(ctx, tier, client.Patch{"live": map[string]any{"requests_per_minute": 70, "requests_per_month": 1000}})
	w.made("tier", err)
	effective(w.t, w.at("tier"), changed.Revocation)
	limited(w.t, w.c, w.at("tier"), key, "70")
	moved, err := api.Accounts().Update(ctx, account.ID, client.Patch{"tier": "enterprise"})
	w.made("account's tier", err)
	effective(w.t, w.at("account's tier"), moved.Revocation)
	limited(w.t, w.c, w.at("account's tier"), key, "3000")
	removed, err := api.Accounts().Delete(ctx, account.ID)
	w.made("delete account", err)
	effective(w.t, w.at("delete account"), removed.Revocation)
	everywhere(w.t, w.c, w.at("delete account"), key, "401 invalid_key")
}
