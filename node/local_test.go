package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/datadir"
)

// A node whose own data is gone, or a part of it, serves without it, and says so in its
// log, its metrics, the status and an event; also if it is gone with its seal.
func TestLocalDataIsLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remove []string // patterns
		reason string
		kept   int // directories
	}{
		"a part": {[]string{datadir.LocalDir + "/MANIFEST-*"}, "MANIFEST-", 1},
		"all":    {[]string{datadir.LocalDir}, "the database is missing", 0},
		"both":   {[]string{datadir.LocalDir, datadir.LocalSealFile}, "the database is missing", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			n := startLone(t, dir)
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
			for _, pattern := range c.remove {
				paths, err := filepath.Glob(filepath.Join(dir, pattern))
				if err != nil || len(paths) == 0 {
					t.Fatal(pattern, paths, err)
				}
				for _, path := range paths {
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			n = startLone(t, dir)
			lossIsTold(t, n, dir, c.reason)
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
			kept, err := filepath.Glob(filepath.Join(dir, datadir.DamagedPrefix+"*"))
			if err != nil || len(kept) != c.kept {
				t.Errorf("set aside: %v, %v", kept, err)
			}
			if name, err := datadir.Occupant(dir); err != nil || strings.HasPrefix(name, datadir.LocalDir+".") {
				t.Errorf("a restore would be refused because of %q, %v", name, err)
			}
		})
	}
}

// lossIsTold checks each place where a node says that it lost its own data.
func lossIsTold(t *testing.T, n *loneNode, dir, reason string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, datadir.OperatorTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(raw))
	if !strings.Contains(n.out.String(), "data was damaged") {
		t.Errorf("the log: %s", n.out)
	}
	for _, c := range []struct{ path, want string }{
		{"/readyz", ""},
		{"/metrics", "\nperfgate_local_losses_total 1\n"},
		{"/v1/cluster", `"warnings":["` + n.config.Node.Name + ": request events, usage"},
		{"/v1/cluster", reason},
		{"/v1/cluster", `"healthy":true`},
		{"/v1/audit-logs?action=local.lost", reason},
		{"/v1/audit-logs?action=local.lost", `"kept_in"`},
	} {
		if status, body := n.get(t, n.adminListener, c.path, token); status != 200 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d, without %q: %s", c.path, status, c.want, body)
		}
	}
	if _, body := n.get(t, n.adminListener, "/metrics", token); strings.Contains(body, "\nperfgate_local_last_loss_timestamp_seconds 0\n") {
		t.Error("the time of the loss is not in the metrics")
	}
}
