package nodetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// slack is how much longer than it should a loaded machine may take. Every bound
// that includes it stays well below the ten seconds after which a write is given up.
const slack = 5 * time.Second

// long is a lease by which a test can tell a wait for one from anything else.
const long = 4 * time.Second

func newKey(name string) client.NewKey { return client.NewKey{Name: name, Type: "live"} }

// code is the code of a fault, "" of none.
func code(err error) fault.Code {
	var f *fault.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return f.Code
	}
	return fault.Code(err.Error())
}

// status is GET /v1/cluster of node i; nil while it has none.
func status(c *nodetest.Cluster, i int) *client.Cluster {
	s, err := c.API(i).Cluster(context.Background())
	if err != nil {
		return nil
	}
	return s
}

// leaseLeft is the rest of a node's lease by s, zero if s does not tell.
func leaseLeft(s *client.Cluster, name string) time.Duration {
	if s == nil {
		return 0
	}
	for _, n := range s.Nodes {
		if n.Name == name && n.LeaseMS != nil {
			return time.Duration(*n.LeaseMS) * time.Millisecond
		}
	}
	return 0
}

// names are the nodes that node i lists.
func names(c *nodetest.Cluster, i int) (out []string) {
	s := status(c, i)
	if s == nil {
		return nil
	}
	for _, n := range s.Nodes {
		out = append(out, n.Name)
	}
	return out
}

// nodeID is a node's id, which lives in its data directory.
func nodeID(t *testing.T, n *nodetest.Node) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Dir, "node-id"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

var plain = &http.Client{Timeout: nodetest.Timeout}

// fetch gets a URL without a credential, and returns a fault's message or the body.
func fetch(url string) (int, string) {
	resp, err := plain.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var e struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && e.Error.Message != "" {
		return resp.StatusCode, e.Error.Message
	}
	return resp.StatusCode, string(body)
}

// oneCluster waits until n nodes are in one cluster, and checks that there is no
// other. It returns the cluster's id.
func oneCluster(t *testing.T, c *nodetest.Cluster, n int) string {
	t.Helper()
	c.WaitReady()
	id := ""
	for i, node := range c.Nodes {
		if !node.Running() {
			continue
		}
		c.Until(fmt.Sprintf("node %d lists %d nodes", i, n), func() error {
			s := status(c, i)
			if s == nil || len(s.Nodes) != n {
				return fmt.Errorf("status %+v", s)
			}
			if id != "" && s.ClusterID != id {
				t.Fatalf("node %d is in cluster %s, another one in %s", i, s.ClusterID, id)
			}
			id = s.ClusterID
			return nil
		})
	}
	return id
}

// waiting waits until a node that has no cluster yet gives reason, on the admin
// listener and nowhere else.
func waiting(t *testing.T, c *nodetest.Cluster, i int, reason string) {
	t.Helper()
	n := c.Nodes[i]
	c.Until(fmt.Sprintf("%s reports that it waits: %s", n.Setup.Name, reason), func() error {
		code, body := fetch(n.Admin() + "/v1/cluster")
		if code != 503 || !strings.Contains(body, reason) {
			return fmt.Errorf("it answers %d %s", code, body)
		}
		return nil
	})
	if code, body := fetch(n.Proxy() + "/x"); code != 503 || strings.Contains(body, "10.0.0.") {
		t.Errorf("the proxy listener answers %d %s", code, body)
	}
	if code, _ := fetch(n.Proxy() + "/livez"); code != 200 {
		t.Errorf("/livez answers %d while the node waits", code)
	}
}

// how tells by which means a node cleared a wait; "" if the receipt does not list it.
func how(r *client.Revocation, name string) string {
	if r != nil {
		for _, n := range r.Nodes {
			if n.Name == name {
				return n.How
			}
		}
	}
	return ""
}

// revoke ends a key through node on, with opts, and returns the receipt. A repeat
// is as good as the first call where an election came in between.
func revoke(c *nodetest.Cluster, on int, id string, opts ...client.Option) (r *client.Revocation) {
	c.Until("the revocation is answered", func() error {
		k, err := c.API(on).RevokeKey(context.Background(), id, "leaked", opts...)
		if err == nil {
			r = k.Revocation
		}
		return err
	})
	return r
}

// settled waits until the leader is older than a lease, so that a write that takes a
// right away need not wait for leases that an earlier leader may have lent.
func settled(c *nodetest.Cluster, on int) {
	c.Until("a revocation waits for no lease", func() error {
		id, _ := c.Key(on, "probe")
		began := time.Now()
		if _, err := c.API(on).RevokeKey(context.Background(), id, ""); err != nil {
			return err
		}
		if took := time.Since(began); took > time.Second {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	})
}

// everywhere checks the very next request to each node's proxy.
func everywhere(t *testing.T, c *nodetest.Cluster, after, key, want string) {
	t.Helper()
	for _, n := range c.Nodes {
		if a := n.Get(key); a.String() != want {
			t.Errorf("%s: %s answers %v, want %s", after, n.Setup.Name, a, want)
		}
	}
}

// limited checks which limit binds the very next request to each node.
func limited(t *testing.T, c *nodetest.Cluster, after, key, limit string) {
	t.Helper()
	for _, n := range c.Nodes {
		if a := n.Get(key); a.Status != 200 || a.Header.Get("X-RateLimit-Limit") != limit {
			t.Errorf("%s: %s answers %v with limit %s, want %s", after, n.Setup.Name, a, a.Header.Get("X-RateLimit-Limit"), limit)
		}
	}
}

// effective checks a receipt: all three nodes have applied the write.
func effective(t *testing.T, after string, r *client.Revocation) {
	t.Helper()
	if r == nil {
		t.Errorf("%s: no receipt", after)
		return
	}
	var applied []string
	for _, n := range r.Nodes {
		if n.How == "applied" {
			applied = append(applied, n.Name)
		}
	}
	if !r.Effective || r.Index == 0 || !slices.Equal(applied, []string{"n1", "n2", "n3"}) {
		t.Errorf("%s: receipt %+v", after, r)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
