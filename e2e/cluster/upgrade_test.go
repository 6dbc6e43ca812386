package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// former builds perfgate as it was one commit ago, from the history of the
// checkout that the tests run in.
func former(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Skip("needs the repository's history, to build the version before this one: ", err)
	}
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "tree.tar")
	top := strings.TrimSpace(string(root))
	if err := command("git", "-C", top, "archive", "-o", archive, "HEAD~1"); err != nil {
		t.Skip("there is no commit before this one to upgrade from: ", err)
	}
	if err := command("tar", "-xf", archive, "-C", tree); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(work, "perfgate-former")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=former", "-o", path, ".")
	build.Dir = tree
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the version before this one: %v\n%s", err, out)
	}
	return path
}

// A cluster is upgraded node by node: versions one apart run together, every node
// takes writes meanwhile, and no client notices.
func TestUpgrade(t *testing.T) {
	processes(t)
	old := former(t)
	c := prepare(t, 3, options{})
	news := binary(t)
	run := func(i int, with string) {
		p := c.procs[i]
		at := slices.IndexFunc(p.argv, func(s string) bool { return s == old || s == news })
		p.argv[at] = with
		p.begin()
	}
	for i := range c.procs {
		run(i, old)
	}
	c.awaitReady()
	c.awaitVoters()
	keys := c.loaded()
	versions := func() (of []string) {
		r, err := c.manage(writeLimit, 0, "GET", "/v1/cluster", nil)
		if err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
		nodes, _ := r.at("nodes").([]any)
		for _, n := range nodes {
			m, _ := n.(map[string]any)
			of = append(of, fmt.Sprint(m["version"]))
		}
		return of
	}
	if v := versions(); !slices.Equal(v, []string{"former", "former", "former"}) {
		t.Fatalf("versions %v", v)
	}
	b := newBalancer(c.nodes)
	defer b.close()
	await(t, readyLimit, "the balancer to see all nodes", func() error { return missing(b, 3) })
	l := startLoad(loadRate, keys, b.pick)
	defer func() { t.Log(l) }()
	for i := range c.procs {
		c.Stop(i)
		run(i, news)
		c.awaitReady(i)
		await(t, readyLimit, "the balancer to see all nodes again", func() error { return missing(b, 3) })
		for j := range c.nodes { // a write through each, the old ones and the new, is true on all
			r, err := c.manage(writeLimit, j, "POST", "/v1/keys", map[string]any{"name": "mixed", "type": "live"})
			if err != nil || r.status != 201 {
				t.Fatalf("create through node %d: %v %v", j+1, r, err)
			}
			id, key := r.str("id"), r.str("key")
			for _, n := range c.nodes {
				if r, err := within(writeLimit, "GET", n.proxy+"/x", as(key), nil); err != nil || r.status != 200 {
					t.Errorf("%s: a key made by node %d: %v %v", n.name, j+1, r, err)
				}
			}
			r, err = c.manage(writeLimit, j, "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "mixed"})
			if err != nil || r.status != 200 || r.at("revocation", "effective") != true {
				t.Fatalf("revoke through node %d: %v %v", j+1, r, err)
			}
			for _, n := range c.nodes {
				if r, err := within(writeLimit, "GET", n.proxy+"/x", as(key), nil); err != nil || r.status != 401 {
					t.Errorf("%s: a key revoked by node %d: %v %v", n.name, j+1, r, err)
				}
			}
		}
	}
	l.end()
	if n := len(l.failed()); n != 0 {
		t.Errorf("%d requests failed", n)
	}
	await(t, readyLimit, "the status to tell the new versions", func() error {
		if v := versions(); slices.Contains(v, "former") {
			return fmt.Errorf("versions %v", v)
		}
		return nil
	})
}
