package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/e2e/harness"
)

// former builds perfgate as it was at the commit that PERFGATE_UPGRADE_FROM names, one
// ago by default, from the history of the checkout that the tests run in.
func former(t *testing.T) string {
	t.Helper()
	from := os.Getenv("PERFGATE_UPGRADE_FROM")
	asked := from != ""
	if !asked {
		from = "HEAD~1"
	}
	skip := t.Skip
	if asked { // a check that was asked for must not look like a pass
		skip = t.Fatal
	}
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		skip("needs the repository's history, to build an earlier version: ", err)
	}
	dir := t.TempDir()
	tree, archive := filepath.Join(dir, "tree"), filepath.Join(dir, "tree.tar")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := command("git", "-C", strings.TrimSpace(string(root)), "archive", "-o", archive, from); err != nil {
		skip("cannot read commit ", from, ", which is upgraded: ", err)
	}
	if err := command("tar", "-xf", archive, "-C", tree); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(harness.Work(), "perfgate-former")
	if err := harness.Build(path, tree, ".", "-ldflags", "-X main.version=former"); err != nil {
		t.Fatal(err)
	}
	return path
}

// A cluster is upgraded node by node: an earlier version and this one run together,
// every node accepts writes meanwhile, and no client notices.
//
// The earlier version is the last commit before this one, as in CI. Before a release,
// name the commit or tag that users upgrade from:
//
//	PERFGATE_E2E_CLUSTER=1 PERFGATE_UPGRADE_FROM=v0.1.0 go test -count 1 -run '^TestUpgrade$' ./e2e/cluster
func TestUpgrade(t *testing.T) {
	processes(t)
	c := prepare(t, 3, options{})
	u := &upgrade{t: t, c: c, old: former(t), new: harness.Binary(t)}
	for i := range c.procs {
		u.run(i, u.old)
	}
	c.awaitReady()
	c.awaitVoters()
	keys := c.loaded()
	if v := u.versions(); !slices.Equal(v, []string{"former", "former", "former"}) {
		t.Fatalf("versions %v", v)
	}
	b := newBalancer(c.nodes)
	defer b.close()
	harness.Await(t, readyLimit, "the balancer to see all nodes", func() error { return missing(b, 3) })
	l := startLoad(loadRate, keys, b.pick)
	defer func() { t.Log(l) }()
	for i := range c.procs {
		c.Stop(i)
		u.run(i, u.new)
		c.awaitReady(i)
		harness.Await(t, readyLimit, "the balancer to see all nodes again", func() error { return missing(b, 3) })
		for j := range c.nodes {
			u.write(j)
		}
	}
	l.end()
	if n := len(l.failed()); n != 0 {
		t.Errorf("%d requests failed", n)
	}
	harness.Await(t, readyLimit, "the status to report the new versions", func() error {
		if v := u.versions(); slices.Contains(v, "former") {
			return fmt.Errorf("versions %v", v)
		}
		return nil
	})
}

// upgrade is a cluster of nodes that run one of two programs.
type upgrade struct {
	t        *testing.T
	c        *cluster
	old, new string // paths
}

// run starts node i with a program.
func (u *upgrade) run(i int, program string) {
	p := u.c.procs[i]
	at := slices.IndexFunc(p.Argv, func(s string) bool { return s == u.old || s == u.new })
	p.Argv[at] = program
	p.Begin()
}

// versions are the nodes' versions by the status.
func (u *upgrade) versions() (of []string) {
	u.t.Helper()
	r, err := u.c.manage(writeLimit, 0, "GET", "/v1/cluster", nil)
	if err != nil || r.StatusCode != 200 {
		u.t.Fatal(r, err)
	}
	nodes, _ := r.At("nodes").([]any)
	for _, n := range nodes {
		m, _ := n.(map[string]any)
		of = append(of, fmt.Sprint(m["version"]))
	}
	return of
}

// write makes and revokes a key through node j; all nodes, the old ones and the new,
// see both.
func (u *upgrade) write(j int) {
	u.t.Helper()
	r, err := u.c.manage(writeLimit, j, "POST", "/v1/keys", map[string]any{"name": "mixed", "type": "live"})
	if err != nil || r.StatusCode != 201 {
		u.t.Fatalf("create through node %d: %v %v", j+1, r, err)
	}
	id, key := r.Str("id"), r.Str("key")
	u.everywhere(key, 200, fmt.Sprintf("a key made by node %d", j+1))
	r, err = u.c.manage(writeLimit, j, "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "mixed"})
	if err != nil || r.StatusCode != 200 || r.At("revocation", "effective") != true {
		u.t.Fatalf("revoke through node %d: %v %v", j+1, r, err)
	}
	u.everywhere(key, 401, fmt.Sprintf("a key revoked by node %d", j+1))
}

// everywhere checks the next answer of every node to key.
func (u *upgrade) everywhere(key string, status int, after string) {
	u.t.Helper()
	for _, n := range u.c.nodes {
		if r, err := within(writeLimit, "GET", n.proxy+"/x", as(key), nil); err != nil || r.StatusCode != status {
			u.t.Errorf("%s: %s: %v %v", n.name, after, r, err)
		}
	}
}
