package manage_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/store"
)

// controls reads the report and finds its controls by name.
func controls(t *testing.T, g *apitest.Rig) map[string]client.Control {
	t.Helper()
	var v client.Compliance
	if err := json.Unmarshal([]byte(g.Op("GET", "/v1/compliance", "").Want(t, 200).Body), &v); err != nil {
		t.Fatal(err)
	}
	out := map[string]client.Control{}
	for _, c := range v.Data {
		if c.Title == "" || c.Fact == "" || c.Setting == "" || c.Verify == "" || len(c.References) == 0 || (c.State == "attention") != (c.Count > 0) {
			t.Errorf("the control is incomplete: %+v", c)
		}
		out[c.Control] = c
	}
	return out
}

// wants checks the state of a control and a part of its fact and items.
func wants(t *testing.T, c client.Control, state string, parts ...string) {
	t.Helper()
	text := c.Fact + "\n" + strings.Join(c.Items, "\n")
	if c.State != state {
		t.Errorf("%s is %s: %s", c.Control, c.State, text)
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q: %s", c.Control, p, text)
		}
	}
}

// The report follows the facts: what is right is met, and each wrong fact is named with the
// way to mend it.
func TestComplianceReport(t *testing.T) {
	g := apitest.New(t, func(c *httpapi.Config) { c.Residency = manage.Residency{Region: "eu-west"} })
	now := time.Now()
	g.Backend.Measured = manage.Facts{
		Node: "n1", Version: "1.2.3", AuditRequests: "all",
		Listeners: []manage.ListenerFacts{
			{Name: "proxy", TLS: true, MinVersion: "1.3", Ends: now.Add(90 * 24 * time.Hour)},
			{Name: "admin", Loopback: true},
		},
		Backup: manage.BackupFacts{Scheduled: true, Encrypted: true, Every: 24 * time.Hour, Last: now.Add(-time.Hour)},
	}
	good := controls(t, g)
	wants(t, good["encryption_in_transit"], "met", "proxy: TLS 1.3 or later", "admin: plaintext, reached from this machine alone")
	wants(t, good["backups"], "met", "Every 1d the leader writes a backup")
	wants(t, good["data_residency"], "met", "in region eu-west")
	wants(t, good["key_rotation"], "met", "0 live keys are valid")
	wants(t, good["ip_allowlists"], "met")
	wants(t, good["data_retention"], "met", "for 30 to 30 days")
	wants(t, good["data_deletion"], "met", "cancelled for 24 h", "by the signed ledger beside the scheduled backups, which are encrypted for")

	id, _ := g.Key("live", "admin")
	g.Key("test", "read")
	g.Backend.Measured.Listeners[0] = manage.ListenerFacts{Name: "proxy", Table: "proxy.tls", TLS: true, MinVersion: "1.2", Ends: now.Add(90 * 24 * time.Hour)}
	g.Backend.Measured.Listeners[1] = manage.ListenerFacts{Name: "admin", Table: "admin.tls"}
	g.Backend.Measured.Backup = manage.BackupFacts{Scheduled: true, Every: 24 * time.Hour, Last: now.Add(-100 * time.Hour), Behind: true}
	g.Backend.Measured.AuditRequests = "denied"
	g.Op("PATCH", "/v1/accounts/default", `{"retention_days":7}`).Want(t, 200)
	g.Now.Add(int64(store.RotationDue + time.Hour))
	bad := controls(t, g)
	wants(t, bad["encryption_in_transit"], "attention", "the proxy listener of n1 accepts TLS 1.2; remove proxy.tls.min_version", "the admin listener of n1 is plaintext; set [admin.tls]")
	wants(t, bad["key_rotation"], "attention", "1 live keys are valid: 1 are due for rotation, 1 never expire, 1 have the scope admin", "perfgate keys rotate "+id)
	wants(t, bad["ip_allowlists"], "attention", "account default has no allowlist")
	wants(t, bad["backups"], "attention", "not encrypted", "older than a day")
	wants(t, bad["data_deletion"], "attention", "the ledger of erasures in backup.dir of n1 could not be written", "are not encrypted")
	wants(t, bad["audit_log"], "attention", "set audit.requests")
	wants(t, bad["data_retention"], "met", "for 7 to 7 days")

	if _, err := g.Backend.Apply(&store.Command{
		Account: store.DefaultAccount, Change: &store.AllowlistSet{Entries: []store.AllowEntry{{CIDR: netip.MustParsePrefix("192.0.2.0/24")}}},
	}); err != nil {
		t.Fatal(err)
	}
	wants(t, controls(t, g)["ip_allowlists"], "met")
	g.Backend.Measured.Listeners[1] = manage.ListenerFacts{Name: "admin", Table: "admin.tls", TLS: true, MinVersion: "1.3", SelfSigned: true, Ends: now}
	wants(t, controls(t, g)["encryption_in_transit"], "attention", "the admin listener of n1 uses a self-signed certificate")
	g.Backend.Measured.Listeners[1].SelfSigned = false
	wants(t, controls(t, g)["encryption_in_transit"], "attention", "the certificate of the admin listener of n1 ends at")
}

// A browser gets a page to print, in which names are text.
func TestCompliancePage(t *testing.T) {
	g := apitest.New(t)
	g.Backend.Measured = manage.Facts{Node: `<script>alert(1)</script>`}
	a := g.Op("GET", "/v1/compliance", "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8").Want(t, 200)
	if a.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.Body, "<h1>Compliance report</h1>") ||
		!strings.Contains(a.Body, "&lt;script&gt;") || strings.Contains(a.Body, "<script>") || a.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("%v\n%s", a.Header, a.Body)
	}
	if a := g.Op("GET", "/v1/compliance", "", "Accept", "*/*").Want(t, 200); a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", a.Header)
	}
}
