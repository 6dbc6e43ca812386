package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/store"
)

// A sink of a real node that leads gets changes, requests and signed heads. The heads of the
// second start come at once: the key that signs them is there.
func TestSinkOfLoneNode(t *testing.T) {
	t.Parallel()
	path, dir := filepath.Join(t.TempDir(), "audit.ndjson"), t.TempDir()
	args := []string{"--config", configtest.File(t, "[[audit.sinks]]\nurl = \"file:"+path+"\"\n")}
	n := startLone(t, dir, args...)
	if err := change(n, &store.Command{Account: "acct_sunk", Change: &store.AccountCreate{Account: store.Account{ID: "acct_sunk", Name: "sunk"}}}); err != nil {
		t.Fatal(err)
	}
	if status, body := n.get(t, n.proxyListener, "/refused", "pk_live_none"); status != 401 {
		t.Fatalf("the proxy answers %d: %s", status, body)
	}
	sunk(t, n, path, `"account.create"`, `"acct_sunk"`, `"/refused"`)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, body := n.get(t, n.adminListener, "/metrics", n.token(t))
		var sent float64
		for line := range strings.Lines(body) {
			if _, err := fmt.Sscanf(line, `perfgate_audit_sink_events_total{outcome="sent",sink="0"} %g`, &sent); err == nil {
				break
			}
		}
		if sent >= 2 && strings.Contains(body, `perfgate_audit_sink_lag_seconds{sink="0"}`) && strings.Contains(body, `perfgate_audit_sink_failures_total{sink="0"} 0`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the metrics say %v sent: %s", sent, body)
		}
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	sunk(t, startLone(t, dir, args...), path, `"path":{`)
}

// sunk waits until the file of a sink has all the texts. Heads that fail come a minute later.
func sunk(t *testing.T, n *loneNode, path string, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		raw, _ := os.ReadFile(path)
		missing := ""
		for _, text := range want {
			if !strings.Contains(string(raw), text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("without %s after three minutes: %s\n%s", missing, raw, n.out)
		}
	}
}
