package node

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// A key that rotates until it is unused is revoked 15 minutes after its last use, and not
// before.
func TestOverlapUntilUnused(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir(), "--demo")
	old := regexp.MustCompile(`Bearer (\S+)"`).FindStringSubmatch(n.out.String())[1]
	key := func() (id, state, reason string) {
		_, body := n.get(t, n.adminListener, "/v1/keys?sort=created_at", n.token(t))
		var doc struct {
			Data []struct {
				ID, State string
				Reason    string `json:"revoke_reason"`
			}
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil || len(doc.Data) == 0 {
			t.Fatal(err, body)
		}
		return doc.Data[0].ID, doc.Data[0].State, doc.Data[0].Reason
	}
	id, _, _ := key()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+n.adminListener.server.Addr().String()+"/v1/keys/"+id+"/rotate", strings.NewReader(`{"overlap":"until_unused"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.token(t))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 201 {
		t.Fatal(resp, err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if status, body := n.get(t, n.proxyListener, "/hello", old); status != 200 {
		t.Fatal(status, body)
	}
	if err := n.local.Flush(); err != nil {
		t.Fatal(err)
	}
	used := time.Now()
	for _, c := range []struct {
		after  time.Duration
		state  string
		status int
	}{{0, "rotating", 200}, {14 * time.Minute, "rotating", 200}, {15*time.Minute + time.Second, "revoked", 401}} {
		n.overall.endUnused(t.Context(), n.Node, used.Add(c.after), maxOverlaps)
		if _, state, reason := key(); state != c.state || state == "revoked" && reason != "rotated" {
			t.Errorf("after %s: %s %s", c.after, state, reason)
		}
		if c.status == 401 { // a request would be a use
			if status, body := n.get(t, n.proxyListener, "/hello", old); status != 401 || !strings.Contains(body, "key_revoked") {
				t.Errorf("after %s: %d %s", c.after, status, body)
			}
		}
	}
}

// Overlaps end however many there are: keys that are still used do not stand before others.
func TestManyOverlapsEnd(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir(), "--demo")
	now := time.Now()
	propose := func(change store.Change) {
		t.Helper()
		if _, err := n.proposeGrant(t.Context(), &store.Command{At: now, Account: store.DefaultAccount, Actor: n.startup.system(), Change: change}); err != nil {
			t.Fatal(err)
		}
	}
	const keys = 7
	for i := range keys {
		id := store.KeyID(fmt.Sprintf("key_old%d", i))
		propose(&store.KeyCreate{Key: store.Key{ID: id, Hash: store.Hash{1, byte(i)}, Type: store.Test, Name: "old", Scopes: []string{"read"}}})
		propose(&store.KeyRotate{ID: id, New: store.KeyID(fmt.Sprintf("key_new%d", i)), Hash: store.Hash{2, byte(i)}, OverlapEndsAt: now.Add(48 * time.Hour), UntilUnused: true})
		if i < 3 {
			n.local.Observe(&local.Observation{At: now.Add(time.Hour), Method: "GET", Status: 200, Account: store.DefaultAccount, Key: id})
		}
	}
	if err := n.local.Flush(); err != nil {
		t.Fatal(err)
	}
	n.overall.endUnused(t.Context(), n.Node, now.Add(time.Hour), 2)
	for i := range keys {
		k, err := n.store.Key(store.KeyID(fmt.Sprintf("key_old%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if ended := !k.RevokedAt.IsZero(); ended != (i >= 3) {
			t.Errorf("key %d has ended: %v", i, ended)
		}
	}
}
