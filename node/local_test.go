package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/datadir"
)

// A node whose own data is gone serves without it, and says so in its log, its
// metrics, the status and an event.
func TestLocalDataIsLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startLone(t, dir)
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, datadir.OperatorTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(raw))
	manifests, err := filepath.Glob(filepath.Join(dir, datadir.LocalDir, "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	for _, path := range manifests {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}

	n = startLone(t, dir)
	const reason = "MANIFEST-"
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
		{"/v1/audit-logs?action=local.lost", datadir.DamagedPrefix},
	} {
		if status, body := n.get(t, n.adminListener, c.path, token); status != 200 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d, without %q: %s", c.path, status, c.want, body)
		}
	}
	if _, body := n.get(t, n.adminListener, "/metrics", token); strings.Contains(body, "\nperfgate_local_last_loss_timestamp_seconds 0\n") {
		t.Error("the time of the loss is not in the metrics")
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(dir, datadir.DamagedPrefix+"*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("set aside: %v, %v", kept, err)
	}
	if name, err := datadir.Occupant(dir); err != nil || strings.HasPrefix(name, datadir.LocalDir+".") {
		t.Errorf("a restore would be refused because of %q, %v", name, err)
	}
}
