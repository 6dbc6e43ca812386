package ui_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// TestAllowlistEditor saves a list, and meets each of its refusals.
func TestAllowlistEditor(t *testing.T) {
	g := newRig(t)
	const at = "/security/allowlist"
	p := g.get(at).want(200).says("You come from 127.0.0.1")
	list := func() any { return g.Op("GET", "/v1/allowlist", "").JSON["entries"] }

	bad := g.post(at, url.Values{"etag": {p.field("etag")}, "entries": {"127.0.0.1\r\n# office\r\n203.0.113.0/240\r\n<b>x</b> # note"}}).want(422)
	bad.says("Nothing was saved", "Line 3", "203.0.113.0/240", "Line 4", "<b>x</b>")
	if !strings.Contains(bad.raw, "# office") {
		t.Fatal("the text that was entered is gone")
	}
	out := g.post(at, url.Values{"etag": {p.field("etag")}, "entries": {"203.0.113.0/24 # office\r\n198.51.100.42"}}).want(409)
	out.says("does not contain your own address 127.0.0.1", "Save anyway")
	if n := len(list().([]any)); n != 0 {
		t.Fatalf("%d entries were saved", n)
	}
	form := url.Values{"etag": {p.field("etag")}, "entries": {"203.0.113.0/24 # office\r\n198.51.100.42"}, "force": {"1"}}
	saved := g.post(at, form).want(303)
	g.get(saved.header.Get("Location")).want(200).says("Every node applies the list", "does not contain", "203.0.113.0/24 # office")
	g.post(at, form).want(412) // somebody else's change would be lost
	p = g.get(at)
	g.post(at, url.Values{"etag": {p.field("etag")}, "entries": {"  "}}).want(422).says("every address", "Save anyway")
	g.post(at, url.Values{"etag": {p.field("etag")}, "entries": {"127.0.0.0/8\n"}}).want(303)
	g.get(at).says("which the saved list contains")
	g.Backend.Partial = true
	g.post(at, url.Values{"etag": {g.get(at).field("etag")}, "entries": {"127.0.0.0/9\n"}}).want(200).says("not every node has confirmed it", "n2: unconfirmed")
}

// observe records requests of a key, n on each of the last days.
func (g *rig) observe(id string, days, n int, change func(*local.Observation)) {
	g.t.Helper()
	now, _ := g.Config.Clock()
	for d := range days {
		for i := range n {
			o := &local.Observation{
				At: now.AddDate(0, 0, -d), Duration: time.Millisecond, RequestID: fmt.Sprintf("req_%d_%d", d, i), Method: "POST", Route: "/v1/chat", Status: 200,
				Client: netip.MustParseAddr("203.0.113.7"), UserAgent: "curl", Account: store.DefaultAccount, Key: store.KeyID(id), Type: store.Live, Units: 1,
			}
			o.Path = "/v1/chat"
			if change != nil {
				change(o)
			}
			g.Local.Observe(o)
		}
	}
	apitest.Must(g.t, g.Local.Flush())
}

// TestAuditLog: the filters, the marks, the details, paging and exports, with texts in
// them that would do harm in a page.
func TestAuditLog(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("live", "read", "write")
	g.Op("PATCH", "/v1/keys/"+id, `{"name":"<i>renamed</i>"}`, "User-Agent", `<script>alert("agent")</script>`).Want(t, 200)
	g.observe(id, 1, 3, func(o *local.Observation) {
		o.Status, o.Code, o.Path, o.UserAgent = 403, "ip_not_allowed", "/x\u202e<img src=x onerror=alert(1)>", strings.Repeat("A", 10_000)
	})
	p := g.get("/audit?action=key.update").want(200).says("Action: key.update", "success", "Before", "After", "test key", "<i>renamed</i>", `<script>alert("agent")</script>`)
	if len(p.all("li", "success")) != 1 {
		t.Fatal("the list does not hold the one event")
	}
	denied := g.get("/audit?outcome=denied&key="+id).want(200).says("ip_not_allowed", "⟨U+202E⟩<img src=x onerror=alert(1)>", "203.0.113.7")
	if len(denied.all("li", "denied")) == 0 || len(denied.all("li", "success")) != 0 || !denied.links("/audit/export?format=csv&key="+id+"&outcome=denied") {
		t.Fatal("the mark of a refusal or the export is missing")
	}
	table := csv.NewReader(strings.NewReader(g.get("/audit/export?format=csv&outcome=denied").want(200).raw))
	table.Comment = '#'
	if rows, err := table.ReadAll(); err != nil || len(rows) < 2 {
		t.Fatalf("the export has %d rows: %v", len(rows), err)
	}
	export := g.get("/audit/export?format=ndjson&action=key.update").want(200)
	if !strings.Contains(export.raw, "renamed") || strings.Contains(export.raw, "ip_not_allowed") || !strings.Contains(export.raw, `"proof"`) || !strings.HasPrefix(export.header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("the export is %.500s", export.raw)
	}
	g.get("/audit/export?format=exe").want(422).says("must be csv, ndjson or json")
	g.get("/audit/export?format=csv&outcome=odd").want(422).says("must be one of") // a page, and no file
	// The node of the rig signs no heads.
	verify := g.get("/audit/verify?action=key.update").want(200).says("Action: key.update", "Nothing proves these events", "Events 1", "audit export --format ndjson --action key.update --output audit-logs.ndjson && perfgate audit verify")
	if !verify.links("/audit?action=key.update") || !p.links("/audit/verify?action=key.update") {
		t.Fatal("the page of the verification has no way there or back")
	}
	g.get("/audit/verify?outcome=odd").want(422).says("must be one of")
	g.get("/audit?outcome=odd").want(422).says("must be one of")
	g.get("/audit?action=none").want(200).says("No event matches")
	for range 60 {
		g.Key("test", "read")
	}
	first := g.get("/audit?action=key.create").want(200)
	next := ""
	for _, a := range first.all("a", "button") {
		if textOf(a) == "Older" {
			next = attr(a, "href")
		}
	}
	if rest := len(g.get(next).want(200).all("details", "")); len(first.all("details", "")) != 50 || rest != 11 {
		t.Fatalf("%q has %d events", next, rest)
	}
}

// TestEventAsCurl runs the command beside an event with a curl that prints its arguments: the
// request finds the event, in the account that is looked at.
func TestEventAsCurl(t *testing.T) {
	g := newRig(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	for range 2 {
		g.Op("POST", "/v1/keys", `{"name":"of acme","type":"test"}`, "X-Perf-Account", acct).Want(t, 201)
		g.Now.Add(int64(time.Second))
	}
	p := g.get("/audit?action=key.create&account=" + acct).want(200).says("Copy as curl")
	lines := p.all("pre", "")
	if len(lines) != 2 {
		t.Fatalf("%d commands", len(lines))
	}
	for _, pre := range lines {
		sh := exec.Command("sh", "-c", `curl() { printf '%s\n' "$@"; }; `+textOf(pre))
		sh.Env = []string{"PERFGATE_TOKEN=pgop_x"}
		out, err := sh.CombinedOutput()
		apitest.Must(t, err)
		words := strings.Split(strings.TrimSpace(string(out)), "\n")
		path, local := strings.CutPrefix(words[len(words)-1], "http://127.0.0.1:8081")
		if !local || !slices.Contains(words, "Authorization: Bearer pgop_x") || !slices.Contains(words, "X-Perf-Account: "+acct) {
			t.Fatalf("curl gets %q", words)
		}
		found := g.Op("GET", path, "", "X-Perf-Account", acct).Want(t, 200).JSON["data"].([]any)
		if len(found) != 1 || "curl-"+found[0].(map[string]any)["id"].(string) != attr(pre, "id") {
			t.Errorf("%s finds %v", path, found)
		}
	}
}

// TestUsage: totals, bars, groups and the CSV agree with what was counted.
func TestUsage(t *testing.T) {
	g := newRig(t)
	g.get("/usage").want(200).says("No requests in this range")
	id, _ := g.Key("live", "read")
	g.observe(id, 3, 1500, nil)
	g.observe(id, 1, 10, func(o *local.Observation) { o.Status, o.Code, o.Units = 429, "requests_per_minute", 0 })
	p := g.get("/usage").want(200).says("Requests 4,510", "Admitted 4,500", "Denied 10", "test key", "Times are UTC")
	if bars := append(p.all("rect", "served"), p.all("rect", "denied")...); len(bars) != 4 { // three days, and the refusals of one
		t.Fatalf("%d bars", len(bars))
	}
	if rows := p.all("table", ""); len(rows) != 2 {
		t.Fatalf("%d tables", len(rows))
	}
	g.get("/keys/" + id + "/first").want(200).says("The key works: last used now from 203.0.113.7")
	unused, _ := g.Key("test", "read")
	if p := g.get("/keys/" + unused + "/first").want(200).says("Waiting for the first request"); len(p.all("p", "good")) != 0 {
		t.Fatal("a key that was never used works")
	}
	g.get("/usage?group_by=status").want(200).says("By status", "429")
	g.get("/usage?type=test").want(200).says("Type: test", "No requests")
	now, _ := g.Config.Clock()
	today := now.UTC().Format(time.DateOnly)
	hours := g.get("/usage?from=" + today + "&to=" + today + "&step=hour&key=" + id).want(200).says("Requests 1,510")
	if len(hours.all("rect", "denied")) != 1 {
		t.Fatal("no bar for the refusals")
	}
	rows, err := csv.NewReader(strings.NewReader(g.get("/usage/export?group_by=status").want(200).raw)).ReadAll()
	apitest.Must(t, err)
	if len(rows) != 5 || rows[0][1] != "status" {
		t.Fatalf("the CSV is %v", rows)
	}
	g.get("/usage?from=yesterday").want(422).says("date such as")
	if raw := g.get("/keys/" + id).want(200).says("Requests of the last 30 days").raw; !strings.Contains(raw, "4,510 requests by day") {
		t.Fatal("the key's page does not say how many requests it had")
	}
}

// TestOverview: the steps turn green by what happens.
func TestOverview(t *testing.T) {
	g := newRig(t)
	done := func() int { return len(g.get("/").want(200).all("li", "done")) }
	g.get("/").want(200).says("6 steps, 6 left", "Set an upstream", "curl http://127.0.0.1:8080/")
	id, _ := g.Key("test", "read")
	if n := done(); n != 1 {
		t.Fatalf("%d steps are done after the first key", n)
	}
	g.observe(id, 1, 1, nil)
	g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"127.0.0.1/32"}]}`).Want(t, 200)
	if n := done(); n != 3 {
		t.Fatalf("%d steps are done after a request and an allowlist", n)
	}
	g.facts.Routed, g.facts.TLS, g.facts.Backups = true, true, true
	if p := g.get("/").want(200); strings.Contains(p.text(), "Get started") {
		t.Fatal("the list stays when nothing is left to do")
	}
	g.Now.Add(int64(80 * 24 * time.Hour))
	g.signIn() // the session has ended
	g.get("/").says("Keys that need attention", "test key", "rotation in")
}

// TestInstallation: the cluster, accounts and tiers, and the account that an operator
// looks at.
func TestInstallation(t *testing.T) {
	g := newRig(t)
	g.get("/cluster").want(200).says("Healthy", "n1", "leader", "ready")
	g.post("/cluster", url.Values{"do": {"remove"}, "node": {"n2"}, "confirm": {"n1"}}).want(422).says("type the name of the node")
	g.post("/cluster", url.Values{"do": {"transfer"}, "node": {"n2"}}).want(303)
	if g.Backend.Leader != "n2" || g.Backend.Forced {
		t.Fatalf("the leader is %q", g.Backend.Leader)
	}
	g.get("/tiers").want(200).says("enterprise", "free", "1,000")

	acct := g.Op("POST", "/v1/accounts", `{"name":"<b>Acme</b>","tier":"pro"}`).Want(t, 201).Text("id")
	if p := g.get("/accounts").want(200).says("<b>Acme</b>", acct); !p.links("/keys?account=" + acct) {
		t.Fatal("the account has no link")
	}
	made := g.post("/keys/new?account="+acct, url.Values{"name": {"theirs"}, "type": {"live"}, "scopes": {"read"}, "once": {"1"}}).want(200)
	if made.field("account") != acct {
		t.Fatal("Done leads to another account")
	}
	if p := g.get("/keys?account=" + acct).want(200).says("theirs"); !p.links("/audit?account=" + acct) {
		t.Fatal("the navigation leads to another account")
	}
	if p := g.get("/keys").want(200); strings.Contains(p.text(), "theirs") {
		t.Fatal("the key is in the default account")
	}
	g.get("/keys?account=acct_none").want(404).says("no account")
	if resp, err := http.Get(g.pages.URL + "/v1/keys"); err != nil || resp.StatusCode != 401 {
		t.Fatal("the API needs no credential")
	}
}
