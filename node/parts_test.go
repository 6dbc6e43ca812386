package node

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/logtest"
)

// A folder for backups that cannot be made ends the start with a fault of its key.
func TestBackupFolderFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	taken := filepath.Join(dir, "file")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := configtest.File(t, "[backup]\ndir = \""+filepath.Join(taken, "backups")+"\"")
	c := mustLoad(t, []string{"--config", path, "--data-dir", filepath.Join(dir, "data"), "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"})
	_, err := Open(t.Context(), Options{Config: c, Out: &logtest.Log{}, Version: "test", Exit: func(int) {}})
	if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "backup.dir = ") || !strings.Contains(err.Error(), "make and read the folder: ") {
		t.Errorf("Open = %v", err)
	}
}

// The metrics of a node tell its state.
func TestMetrics(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	status, body := n.get(t, n.adminListener, "/metrics", "")
	for _, line := range []string{`perfgate_build_info{version="test"} 1`, "perfgate_node_ready 1", "perfgate_audit_dropped_events_total 0", "perfgate_node_applied_index ", "perfgate_node_last_reload_successful 1",
		"go_cpu_classes_gc_total_cpu_seconds_total ", "go_cpu_classes_total_cpu_seconds_total ", "go_cpu_classes_idle_cpu_seconds_total ",
		"go_gc_cycles_total_gc_cycles_total ", "go_gc_heap_live_bytes "} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("status %d, without %q", status, line)
		}
	}
	n.draining.Store(true)
	if _, body := n.get(t, n.adminListener, "/metrics", ""); !strings.Contains(body, "\nperfgate_node_ready 0") {
		t.Error("a draining node counts as ready")
	}
}

// The metrics of certificates and reloads tell how long a certificate lasts, and when
// the configuration was read last.
func TestMetricsOfUpkeep(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	c := *n.config
	c.Admin.Listen = "0.0.0.0:1" // gets a self-signed certificate
	certs, err := openCertificates(&c, "admin", n.log)
	if err != nil {
		t.Fatal(err)
	}
	n.adminListener.certs = certs
	before := time.Now().Unix()
	n.reloads.note(nil)
	n.reloads.note(errors.New("a fault"))
	families, err := newRegistry(n.Node).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue()
		}
	}
	left := time.Until(certs.Leaf().NotAfter).Hours() / 24
	if days, ok := got["perfgate_node_certificate_days admin"]; !ok || days < left-0.1 || days > left+0.1 {
		t.Errorf("the certificate lasts %v days, the metric says %v", left, days)
	}
	if _, ok := got["perfgate_node_certificate_days proxy"]; ok {
		t.Error("a plaintext listener has a certificate")
	}
	if at := got["perfgate_node_last_reload_success_timestamp_seconds"]; at < float64(before) {
		t.Errorf("the last reload was at %v, it is %d", at, before)
	}
	if got["perfgate_node_last_reload_successful"] != 0 {
		t.Error("the reload that failed counts as a success")
	}
	if n.reloads.note(nil); n.reloads.failed.Load() {
		t.Error("a reload that succeeded counts as failed")
	}
}

// The local data learns retention and environments from the state; of accounts and
// keys that are gone it gets the defaults.
func TestRetentionOfUnknown(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	from := &source{store: n.store, clock: n.clock, log: n.log}
	if got := from.retention(store.DefaultAccount); got != store.DefaultRetention*24*time.Hour {
		t.Errorf("the default account keeps its requests for %v", got)
	}
	if got := from.retention("acct_none"); got != 0 {
		t.Errorf("an account that is gone keeps its requests for %v", got)
	}
	if got := from.environment("key_none"); got != "" {
		t.Errorf("a key that is gone has the environment %q", got)
	}
}

// A node with telemetry.otlp_endpoint sends what /metrics has, at the latest when it stops.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	got := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		raw, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		got <- r.URL.Path + string(raw)
	}))
	defer collector.Close()
	n := startLone(t, t.TempDir(), "--config", configtest.File(t, "[telemetry]\notlp_endpoint = \""+collector.URL+"\""))
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	select {
	case m := <-got:
		if !strings.HasPrefix(m, "/v1/metrics") || !strings.Contains(m, "perfgate_node_ready") || !strings.Contains(m, "perfgate_build_info") {
			t.Errorf("the collector gets %q", m)
		}
	default:
		t.Error("the collector gets nothing")
	}
}
