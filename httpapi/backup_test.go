package httpapi

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store/backup"
)

func TestBackup(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Node, c.Version = "n1", "1.2.3" })
	id, _ := g.key("live", "read")
	a := g.op("GET", "/v1/backup", "").want(t, 200)
	r, err := backup.Verify(strings.NewReader(a.body), "")
	must(t, err)
	if r.ClusterID != "c" || r.Node != "n1" || r.Version != "1.2.3" || r.Applied != g.store.Applied() || r.Census.Active == 0 || !strings.Contains(a.body, id) {
		t.Errorf("%+v", r)
	}
	if d := a.header.Get("Content-Disposition"); d != `attachment; filename="`+r.Name()+`"` {
		t.Errorf("Content-Disposition %q", d)
	}
	if a := g.op("HEAD", "/v1/backup", "").want(t, 200); a.body != "" {
		t.Error("HEAD has a body")
	}
	g.op("GET", "/v1/backup?limit=1", "").want(t, 422)
	must(t, g.local.Flush())
	if n := len(g.events("?action=backup.read&outcome=success")); n != 2 {
		t.Errorf("%d events of backups that were read", n)
	}

	g.api.backups.Store(maxBackups)
	g.op("GET", "/v1/backup", "").want(t, 503, fault.TooBusy)
	g.api.backups.Store(maxBackups - 1)
	g.op("GET", "/v1/backup", "").want(t, 200)
	if n := g.api.backups.Load(); n != maxBackups-1 {
		t.Errorf("%d places are taken", n)
	}
}
