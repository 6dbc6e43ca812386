package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// dashboardConfig lets browsers ask for the dashboard under the name that flow.mjs uses.
const dashboardConfig = "[signin]\nallowed_hosts = [\"gate.test\"]\n"

// TestDashboard goes the user's way through the dashboard in Chromium, on one node, and has
// Lighthouse judge the main pages. It needs Node.js with npm, and Chromium at CHROMIUM or /usr/bin/chromium.
func TestDashboard(t *testing.T) {
	needBrowser(t)
	up, _ := echo(t)
	s := start(t, options{upstream: up, config: dashboardConfig, args: []string{"--name", "n1"}})
	walk(t, s, s.operator, "n1", "flow.mjs", "lighthouse.mjs")
}

// TestDashboardOfThree goes the same way on a node of three: all of them confirm the
// revocation.
func TestDashboardOfThree(t *testing.T) {
	needBrowser(t)
	up, _ := echo(t)
	peers, names := unusedPeers(t, 3), []string{"n1", "n2", "n3"}
	nodes := make([]*server, 3)
	for i := range nodes {
		nodes[i] = prepare(t, options{
			upstream: up, config: dashboardConfig, env: []string{"PERFGATE_CLUSTER_SECRET=" + strings.Repeat("secret of the test ", 2)},
			args: []string{"--name", names[i], "--cluster-listen", peers[i], "--cluster-advertise", peers[i], "--join", strings.Join(peers, ","), "--expect", "3"},
		})
		nodes[i].Begin()
	}
	token := ""
	for _, s := range nodes {
		if err := harness.Poll(startTimeout, "the cluster to be ready", s.ready); err != nil {
			t.Fatalf("%v\n%s", err, s.Tail(40))
		}
		if raw, err := os.ReadFile(filepath.Join(s.Data, "operator.token")); err == nil {
			token = strings.TrimSpace(string(raw))
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	walk(t, nodes[1], token, strings.Join(names, ","), "flow.mjs")
}

func needBrowser(t *testing.T) {
	t.Helper()
	if os.Getenv("PERFGATE_E2E_BROWSER") == "" {
		t.Skip("set PERFGATE_E2E_BROWSER to run it")
	}
}

// unusedPeers are addresses on loopback that were free for TCP and UDP a moment ago.
func unusedPeers(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs
}

// walk runs scripts against s. nodes are the names that must confirm a revocation.
func walk(t *testing.T, s *server, token, nodes string, scripts ...string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("dashboard")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // 40 pages in four forms on a loaded machine
	defer cancel()
	run := func(env []string, name string, args ...string) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, s.Tail(40))
		}
	}
	run(nil, "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
	for _, script := range scripts {
		run([]string{
			"BASE=" + strings.Replace(s.admin, "127.0.0.1", "gate.test", 1), "PROXY=" + s.proxy, "TOKEN=" + token, "NODES=" + nodes,
		}, "node", script)
	}
}
