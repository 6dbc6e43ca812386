package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// slack is what a loaded machine may add to a time that is measured.
const slack = 1500 * time.Millisecond

// everywhere checks the very next request to each node's proxy.
func everywhere(t *testing.T, c *nodetest.Cluster, what, key, want string) {
	t.Helper()
	for _, n := range c.Nodes {
		if a := n.Get(key); a.String() != want {
			t.Errorf("%s: %s answers %v, want %s", what, n.Setup.Name, a, want)
		}
	}
}

// limited checks which limit binds the very next request to each node.
func limited(t *testing.T, c *nodetest.Cluster, what, key, limit string) {
	t.Helper()
	for _, n := range c.Nodes {
		if a := n.Get(key); a.Status != 200 || a.Header.Get("X-RateLimit-Limit") != limit {
			t.Errorf("%s: %s answers %v with limit %s, want %s", what, n.Setup.Name, a, a.Header.Get("X-RateLimit-Limit"), limit)
		}
	}
}

// effective checks a receipt: all three nodes have applied the write.
func effective(t *testing.T, c *nodetest.Cluster, what string, r *client.Revocation) {
	t.Helper()
	if r == nil {
		t.Errorf("%s: no receipt", what)
		return
	}
	var applied []string
	for _, n := range r.Nodes {
		if n.How == "applied" {
			applied = append(applied, n.Name)
		}
	}
	if !r.Effective || r.Index == 0 || !slices.Equal(applied, []string{"n1", "n2", "n3"}) {
		t.Errorf("%s: the receipt says %+v", what, r)
	}
}

// Whatever node takes a write, the next request to every node's proxy sees it.
func TestWritesAnywhere(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	ctx := t.Context()
	for i := range c.Nodes {
		api := c.API(i)
		at := func(what string) string { return fmt.Sprintf("%s on n%d", what, i+1) }
		key := func(what string) (string, string) {
			id, key := c.Key(i, what)
			everywhere(t, c, at("create"), key, "200")
			return id, key
		}
		update := func(id, what string, p client.Patch) {
			t.Helper()
			k, err := api.UpdateKey(ctx, id, p)
			if err != nil {
				t.Fatalf("%s: %v", at(what), err)
			}
			effective(t, c, at(what), k.Revocation)
		}

		id, k := key("state")
		update(id, "disable", client.Patch{"state": "disabled"})
		everywhere(t, c, at("disable"), k, "401 key_disabled")
		update(id, "enable", client.Patch{"state": "active"})
		everywhere(t, c, at("enable"), k, "200")
		update(id, "scopes", client.Patch{"scopes": []string{"write"}})
		everywhere(t, c, at("scopes"), k, "403 insufficient_scope")
		update(id, "scopes back", client.Patch{"scopes": []string{"read"}})
		everywhere(t, c, at("scopes back"), k, "200")
		update(id, "key's allowlist", client.Patch{"allowlist": []string{"192.0.2.1/32"}})
		everywhere(t, c, at("key's allowlist"), k, "403 ip_not_allowed")
		update(id, "key's allowlist cleared", client.Patch{"allowlist": []string{}})
		everywhere(t, c, at("key's allowlist cleared"), k, "200")
		update(id, "limits", client.Patch{"limits": map[string]any{"requests_per_minute": 7}})
		limited(t, c, at("limits"), k, "7")
		update(id, "limits cleared", client.Patch{"limits": nil})
		limited(t, c, at("limits cleared"), k, "3000")
		update(id, "expiry", client.Patch{"expires_at": time.Now().Add(time.Second)})
		for _, n := range c.Nodes { // by each node's wall clock
			c.Within(time.Second+slack, at("expiry")+", "+n.Setup.Name+" refuses the key", func() error {
				if a := n.Get(k); a.Code != "key_expired" {
					return fmt.Errorf("it answers %v", a)
				}
				return nil
			})
		}

		list, err := api.SetAllowlist(ctx, []client.AllowEntry{{CIDR: "192.0.2.0/24"}}, client.Force())
		if err != nil {
			t.Fatal(err)
		}
		effective(t, c, at("allowlist"), list.Revocation)
		_, k = c.Key(i, "allowlist")
		everywhere(t, c, at("allowlist"), k, "403 ip_not_allowed")
		if _, err = api.SetAllowlist(ctx, nil); err != nil {
			t.Fatal(err)
		}
		everywhere(t, c, at("allowlist cleared"), k, "200")

		id, k = key("revoke")
		gone, err := api.RevokeKey(ctx, id, "leaked")
		if err != nil {
			t.Fatal(err)
		}
		effective(t, c, at("revoke"), gone.Revocation)
		everywhere(t, c, at("revoke"), k, "401 key_revoked")

		id, k = key("rotate")
		next, err := api.RotateKey(ctx, id, "0s")
		if err != nil {
			t.Fatal(err)
		}
		everywhere(t, c, at("rotate, the old key"), k, "401 key_revoked")
		everywhere(t, c, at("rotate, the new key"), *next.Secret, "200")

		id, k = key("bulk")
		many, err := api.RevokeKeys(ctx, client.BulkRevocation{IDs: []string{id}})
		if err != nil {
			t.Fatal(err)
		}
		effective(t, c, at("bulk"), many.Revocation)
		everywhere(t, c, at("bulk"), k, "401 key_revoked")

		// Another account, with a tier of its own.
		tier := fmt.Sprintf("tier-%d", i+1)
		limit := int64(1000)
		if _, err := api.CreateTier(ctx, client.Tier{Name: tier, Live: client.Limits{PerMinute: &limit, PerMonth: &limit}, Test: client.Limits{PerMinute: &limit, PerMonth: &limit}}); err != nil {
			t.Fatal(err)
		}
		account, err := api.CreateManagedAccount(ctx, client.NewAccount{Name: "Acme", Tier: tier})
		if err != nil {
			t.Fatal(err)
		}
		other := c.API(i)
		other.Account = account.ID
		made, err := other.CreateKey(ctx, newKey("acme"))
		if err != nil {
			t.Fatal(err)
		}
		k = *made.Secret
		everywhere(t, c, at("account"), k, "200")
		changed, err := api.UpdateTier(ctx, tier, client.Patch{"live": map[string]any{"requests_per_minute": 70, "requests_per_month": 1000}})
		if err != nil {
			t.Fatal(err)
		}
		effective(t, c, at("tier"), changed.Revocation)
		limited(t, c, at("tier"), k, "70")
		moved, err := api.UpdateManagedAccount(ctx, account.ID, client.Patch{"tier": "enterprise"})
		if err != nil {
			t.Fatal(err)
		}
		effective(t, c, at("account's tier"), moved.Revocation)
		limited(t, c, at("account's tier"), k, "3000")
		removed, err := api.DeleteManagedAccount(ctx, account.ID)
		if err != nil {
			t.Fatal(err)
		}
		effective(t, c, at("delete account"), removed.Revocation)
		everywhere(t, c, at("delete account"), k, "401 invalid_key")
	}
}

// A repeat on another node is the stored result, and waits like the write itself.
func TestRepeatOnAnotherNode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	ctx, once := t.Context(), client.IdempotencyKey("one-and-only")
	first, err := c.API(0).CreateKey(ctx, newKey("a"), once)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Nodes {
		again, err := c.API(i).CreateKey(ctx, newKey("a"), once)
		if err != nil || again.ID != first.ID || again.Secret != nil || !again.SecretWithheld {
			t.Errorf("n%d answers %+v, %v", i+1, again, err)
		}
		if _, err := c.API(i).CreateKey(ctx, newKey("b"), once); code(err) != fault.IdempotencyMismatch {
			t.Errorf("n%d takes another body: %v", i+1, err)
		}
	}

	// With a node cut off the first answer comes when its lease is over, and so does
	// the repeat's that is asked meanwhile.
	revoke := client.IdempotencyKey("revoke")
	leader := c.Leader()
	other := c.Follower()
	cut := c.Follower(other)
	c.Isolate(cut)
	type result struct {
		key *client.Key
		err error
	}
	results := make(chan result, 2)
	var all sync.WaitGroup
	for _, i := range []int{leader, other} {
		api := c.API(i)
		all.Go(func() {
			k, err := api.RevokeKey(ctx, first.ID, "leaked", revoke)
			results <- result{k, err}
			for _, node := range []int{cut} {
				if a := c.Nodes[node].Get(*first.Secret); a.Status == 200 {
					t.Errorf("n%d admits the key behind an answer", node+1)
				}
			}
		})
	}
	all.Wait()
	for range 2 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		if v := r.key.Revocation; v == nil || !v.Effective {
			t.Errorf("receipt %+v", v)
		}
	}
}

// Without a majority a write is refused, in time, with a word about when to try
// again; reads too.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	left := c.Follower()
	for i := range c.Nodes {
		if i != left {
			c.Kill(i)
		}
	}
	c.Until("the leader is missed", func() error {
		if s := status(c, left); s == nil || s.Leader != "" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	began := time.Now()
	_, err := c.API(left).CreateKey(t.Context(), newKey("a"))
	took := time.Since(began)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.NoLeader || f.RetryAfter < 1 {
		t.Errorf("%v", err)
	}
	if took > 2500*time.Millisecond+slack {
		t.Errorf("it took %v", took)
	}
	if _, err := c.API(left).ListKeys(t.Context(), client.KeyFilter{}); code(err) != fault.NoLeader {
		t.Errorf("a read: %v", err)
	}
	s := status(c, left)
	if s.Healthy || !strings.Contains(strings.Join(s.Reasons, ";"), "no leader") {
		t.Errorf("status %+v", s)
	}
	if code, _ := fetch(c.Nodes[left].Proxy() + "/readyz"); code != http.StatusServiceUnavailable {
		c.Until("the node is not ready", func() error {
			if code, _ := fetch(c.Nodes[left].Proxy() + "/readyz"); code != 503 {
				return fmt.Errorf("/readyz %d", code)
			}
			return nil
		})
	}
}

// A leader that is cut off in the middle of writes does not know what became of
// them, and says so; a repeat elsewhere settles it, once.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	leader := c.Leader()
	api := c.API(leader)
	const writers = 8
	var mu sync.Mutex
	outcomes := map[string]fault.Code{} // by name; "" made it
	cut := make(chan struct{})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := 0; ; n++ {
				name := fmt.Sprintf("w%d-%d", w, n)
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				_, err := api.CreateKey(ctx, newKey(name), client.IdempotencyKey(name))
				cancel()
				mu.Lock()
				outcomes[name] = code(err)
				mu.Unlock()
				if err != nil {
					return
				}
				if w == 0 && n == 3 {
					c.Isolate(leader)
					close(cut)
				}
			}
		})
	}
	all.Wait()
	<-cut
	unknown := 0
	next := -1
	c.Until("another node leads", func() error {
		for i := range c.Nodes {
			if s := status(c, i); i != leader && s != nil && s.Leader == c.Nodes[i].Setup.Name {
				next = i
				return nil
			}
		}
		return errors.New("none does")
	})
	for name, outcome := range outcomes {
		switch outcome {
		case "", fault.NoLeader:
		case fault.UnknownOutcome:
			unknown++
		default:
			t.Errorf("%s: %s", name, outcome)
		}
		c.Until("the repeat is taken", func() error {
			_, err := c.API(next).CreateKey(t.Context(), newKey(name), client.IdempotencyKey(name))
			return err
		})
	}
	if unknown == 0 {
		t.Error("no outcome was unknown: the cut hit no write")
	}
	found := map[string]int{}
	for k, err := range c.API(next).Keys(t.Context(), client.KeyFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		found[k.Name]++
	}
	for name := range outcomes {
		if found[name] != 1 {
			t.Errorf("%s was made %d times", name, found[name])
		}
	}
	c.Heal()
	c.WaitHealthy()
}

// A management read on any node shows what another one has just answered, also
// where the reader lags behind.
func TestReadsAreLinearizable(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	c.Delay(3 * time.Millisecond)
	id, _ := c.Key(0, "a")
	for n := range 30 {
		writer, reader := n%3, (n+1+n/3%2)%3
		name := fmt.Sprintf("name-%d", n)
		if _, err := c.API(writer).UpdateKey(t.Context(), id, client.Patch{"name": name}); err != nil {
			t.Fatal(err)
		}
		k, err := c.API(reader).GetKey(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if k.Name != name {
			t.Errorf("n%d wrote %s, n%d reads %s", writer+1, name, reader+1, k.Name)
		}
	}
}
