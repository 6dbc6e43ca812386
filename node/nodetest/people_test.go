package nodetest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// browser signs in on one node and keeps the cookie for all of them: they have one address
// behind a load balancer.
type browser struct {
	t      *testing.T
	cookie string
}

// do makes a call on a node and returns the status and the answer.
func (b *browser) do(n *nodetest.Node, method, path, body string) (int, map[string]any) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, n.Admin()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Origin", n.Admin())
	r.Header.Set("X-Perf-Request", "1")
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		b.cookie = c.Name + "=" + c.Value
	}
	var out map[string]any
	_ = json.Unmarshal(raw, &out) // a page is no JSON
	return resp.StatusCode, out
}

// A session is valid on every node, and when the call that ends it has returned, on none;
// so are the keys of a user who leaves. A set-up link works once in the whole cluster.
func TestPeopleInACluster(t *testing.T) {
	c := nodetest.Start(t, 3)
	c.WaitHealthy()
	u, err := client.UsersOf(c.API(0)).Create(t.Context(), client.NewUser{Email: "ada@example.com", Role: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	link, err := url.Parse(*u.SetupURL)
	if err != nil {
		t.Fatal(err)
	}
	setup := fmt.Sprintf(`{"token":%q,"password":"correct horse battery"}`, link.Query().Get("token"))
	b := &browser{t: t}
	if code, a := b.do(c.Nodes[1], "POST", "/v1/session", setup); code != 200 {
		t.Fatalf("sign in: %d %v", code, a)
	}
	if code, _ := (&browser{t: t}).do(c.Nodes[2], "POST", "/v1/session", setup); code != 401 {
		t.Errorf("the set-up link works again: %d", code)
	}
	var keys []string
	for i, n := range c.Nodes {
		if code, a := b.do(n, "GET", "/v1/session", ""); code != 200 || a["id"] != u.ID {
			t.Errorf("on node %d: %d %v", i, code, a)
		}
		code, a := b.do(n, "POST", "/v1/keys", `{"name":"n","type":"live"}`)
		if code != 201 {
			t.Fatalf("create on node %d: %d %v", i, code, a)
		}
		keys = append(keys, a["key"].(string))
	}
	op := &browser{t: t}
	if code, a := op.do(c.Nodes[2], "POST", "/v1/session", fmt.Sprintf(`{"token":%q}`, nodetest.Token)); code != 200 {
		t.Fatalf("sign in with the operator token: %d %v", code, a)
	}
	// One node cannot be reached: the answer waits until its lease has ended.
	out := c.Follower()
	c.Isolate(out)
	in := c.Leader()
	for deadline := time.Now().Add(time.Minute); ; {
		_, err = client.UsersOf(c.API(in)).Disable(t.Context(), u.ID, true)
		var f *fault.Error
		if err == nil || !errors.As(err, &f) || f.Code.Status() != 503 || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range c.Nodes {
		if code, a := b.do(n, "GET", "/v1/session", ""); code < 400 {
			t.Errorf("on node %d the session goes on: %d %v", i, code, a)
		}
		for _, key := range keys {
			if a := n.Get(key); a.Status < 400 {
				t.Errorf("on node %d a key of the user is admitted: %v", i, a)
			}
		}
	}
	// A node without a lease may not know that a session has ended, so it accepts none; a
	// token shows what is wrong with it.
	if code, a := op.do(c.Nodes[out], "GET", "/v1/cluster", ""); code != 503 {
		t.Errorf("a session on the node that is cut off: %d %v", code, a)
	}
	if code, a := op.do(c.Nodes[in], "GET", "/v1/cluster", ""); code != 200 {
		t.Errorf("a session on the leader: %d %v", code, a)
	}
	if _, err := c.API(out).Cluster(t.Context()); err != nil {
		t.Errorf("a token on the node that is cut off: %v", err)
	}
}

// No node admits a key of a suspended account once the call has returned, also one that is
// cut off meanwhile, and all do again when it is resumed.
func TestSuspensionInACluster(t *testing.T) {
	c := nodetest.Start(t, 3)
	c.WaitHealthy()
	in := c.Leader()
	_, key := c.Key(in, "a")
	for i, n := range c.Nodes {
		c.Until(fmt.Sprintf("node %d admits the key", i), func() error {
			if a := n.Get(key); a.Status != 200 {
				return fmt.Errorf("%v", a)
			}
			return nil
		})
	}
	out := c.Follower(in)
	c.Isolate(out)
	account, err := c.API(in).Accounts().Update(t.Context(), "default", client.Patch{"state": "suspended"})
	if err != nil {
		t.Fatal(err)
	}
	if account.Revocation == nil || !account.Revocation.Effective {
		t.Errorf("revocation %+v", account.Revocation)
	}
	for i, n := range c.Nodes {
		want := string(fault.AccountSuspended)
		if i == out {
			want = string(fault.NodeIsolated)
		}
		if a := n.Get(key); a.Code != want {
			t.Errorf("on node %d: %v, want %s", i, a, want)
		}
	}
	c.Heal()
	if _, err := c.API(in).Accounts().Update(t.Context(), "default", client.Patch{"state": "active"}); err != nil {
		t.Fatal(err)
	}
	for i, n := range c.Nodes {
		c.Until(fmt.Sprintf("node %d admits the key again", i), func() error {
			if a := n.Get(key); a.Status != 200 {
				return fmt.Errorf("%v", a)
			}
			return nil
		})
	}
}
