package nodetest_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/nodetest"
)

// visitor is signed in to the dashboard of a node.
type visitor struct {
	t      *testing.T
	base   string
	cookie string
}

func visitDashboard(t *testing.T, n *nodetest.Node) *visitor {
	t.Helper()
	b := &visitor{t: t, base: n.Admin()}
	resp := b.post("/signin", url.Values{"token": {nodetest.Token}})
	defer resp.Body.Close()
	if b.cookie, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";"); resp.StatusCode != 303 || b.cookie == "" {
		t.Fatalf("sign in: status %d, cookie %q", resp.StatusCode, b.cookie)
	}
	return b
}

// post sends a form, and returns when the head of the answer is there.
func (b *visitor) post(path string, form url.Values) *http.Response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), "POST", b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Cookie": {b.cookie}, "Origin": {b.base}, "Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"text/html"}}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

// TestRevocationPage: the page of a revocation on three nodes, one of which is cut off, shows
// the two others while it waits for the lease of the third, and all three in the end.
func TestRevocationPage(t *testing.T) {
	c := nodetest.Start(t, 3, nodetest.WithLease(5*time.Second)) // long enough to be seen on a loaded machine
	id, _ := c.Key(0, "seen")
	leader := c.Leader()
	on := c.Follower()
	cut := 3 - leader - on
	b := visitDashboard(t, c.Nodes[on])
	c.Isolate(cut)
	began := time.Now()
	resp := b.post("/keys/"+id+"/revoke", url.Values{"once": {"a"}, "confirm": {"seen"}})
	defer resp.Body.Close()
	end := time.AfterFunc(2*time.Minute, func() { resp.Body.Close() })
	defer end.Stop()
	rows, settled := map[string]time.Duration{}, time.Duration(0)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		for i, n := range c.Nodes {
			if strings.Contains(lines.Text(), fmt.Sprintf("<td>%s</td>", n.Setup.Name)) {
				rows[n.Setup.Name] = time.Since(began)
				if want := map[bool]string{true: "its lease has ended", false: ">applied<"}[i == cut]; !strings.Contains(lines.Text(), want) {
					t.Errorf("the row of %s is %s", n.Setup.Name, lines.Text())
				}
			}
		}
		if strings.Contains(lines.Text(), "No node accepts the key any more") {
			settled = time.Since(began)
		}
	}
	if len(rows) != 3 || settled == 0 {
		t.Fatalf("status %d, rows %v, settled after %v", resp.StatusCode, rows, settled)
	}
	for i, n := range c.Nodes {
		if i != cut && rows[n.Setup.Name] >= settled {
			t.Errorf("%s was not shown before the end: rows %v, settled after %v", n.Setup.Name, rows, settled)
		}
	}
	t.Logf("rows after %v, settled after %v", rows, settled)
}

// TestVerificationPage: the leader and a follower show that the log is whole, once the cluster has
// a key that signs heads, which it makes after it was formed.
func TestVerificationPage(t *testing.T) {
	c := nodetest.Start(t, 3)
	c.Key(0, "verified")
	for _, n := range []*nodetest.Node{c.Nodes[c.Leader()], c.Nodes[c.Follower()]} {
		b := visitDashboard(t, n)
		deadline := time.Now().Add(time.Minute)
		for whole := false; !whole; {
			page := b.get("/audit/verify")
			whole = strings.Contains(page, "Whole, as far as this node can tell") && strings.Contains(page, "Signed by") && !strings.Contains(page, "are missing")
			switch {
			case strings.Contains(page, "The log is not whole"):
				t.Fatalf("%s: %s", n.Setup.Name, page)
			case time.Now().After(deadline):
				t.Fatalf("%s does not show a log that is whole: %s", n.Setup.Name, page)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// get is a page with the status 200.
func (b *visitor) get(path string) string {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), "GET", b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Cookie": {b.cookie}, "Accept": {"text/html"}}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: status %d, %v", path, resp.StatusCode, err)
	}
	return string(raw)
}
