package node

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
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
		n.overall.endUnused(t.Context(), n.Node, used.Add(c.after))
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
