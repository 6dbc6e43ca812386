package ui_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// evil is a text that would do harm in a page that does not escape it.
const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`

// sign gives the API the key that signs reports.
func (g *rig) sign() {
	g.t.Helper()
	now, _ := g.Config.Clock()
	_, err := g.Backend.Apply(&store.Command{At: now, Account: store.DefaultAccount, Change: &store.AuditKey{Seed: make([]byte, 32), First: true}})
	apitest.Must(g.t, err)
}

// TestSecurity: failed authentications by cause, address, country and hint, and findings
// with what was usual and what was seen.
func TestSecurity(t *testing.T) {
	g := newRig(t)
	g.get("/security").want(200).says("Failed authentications 0", "Nothing unusual", "No request was refused for its credential")
	id, _ := g.Key("live", "read")
	now, _ := g.Config.Clock()
	fail := func(n int, code, hint, country, from string) {
		for range n {
			g.Local.Observe(&local.Observation{At: now.Add(-time.Hour), Method: "GET", Route: "/a", Status: 401, Code: code, Hint: hint, Client: netip.MustParseAddr(from), Trail: local.Trail{Country: country}})
		}
	}
	fail(4, "invalid_key", "pk_live_aaaa…bbbb", "DE", "203.0.113.7")
	fail(1, "malformed_key", "", "FR", "198.51.100.9")
	apitest.Must(t, g.Local.Flush())
	g.Findings = []insight.Finding{
		{ID: "fnd_1", Kind: insight.Country, At: now.Add(-time.Hour), Account: "default", Key: id, Subject: "BR", Usual: "uses from DE", Seen: evil + "\u202e"},
		{ID: "fnd_2", Kind: insight.Rate, At: now.Add(-3 * 24 * time.Hour), Account: "default", Key: id, Usual: "about 5", Seen: "500"},
	}
	p := g.get("/security").want(200).says("Failed authentications 5", "Findings 2", "First use from a country", "usual uses from DE", "seen "+evil+"⟨U+202E⟩", "test key",
		"By cause", "invalid_key 4", "malformed_key 1", "By address", "203.0.113.7 DE 4", "By country", "By what was sent", "pk_live_aaaa…bbbb 4")
	if bars := p.all("rect", ""); attr(bars[0], "width") != "100" || attr(bars[1], "width") != "25" {
		t.Fatal("the bars are not as long as the numbers are large")
	}
	if !p.links("/security?days=1") || !p.links("/keys/"+id) || !p.links("/security/incidents") {
		t.Fatal("the page lacks a range, the link to the key, or the tabs")
	}
	if p := g.get("/security?days=1").want(200).says("Findings 1"); strings.Contains(p.text(), "about 5") {
		t.Fatal("the day shows a finding of another one")
	}
	g.get("/security?key="+id).want(200).says("Key: "+id, "Failed authentications 0", "Findings 2")
	g.get("/security?days=oops").want(200)
}

// TestHygiene: what is untidy stands beside the command that mends it.
func TestHygiene(t *testing.T) {
	g := newRig(t)
	g.get("/security/hygiene").want(200).says("0 keys were looked at", "Nothing to mend")
	id, _ := g.Key("live", "read")
	g.Now.Add(int64(100 * 24 * time.Hour))
	g.signIn()
	p := g.get("/security/hygiene").want(200).says("1 key was looked at", "Rotation is late 1", "due for rotation since", "perfgate keys rotate "+id, "Never used", "Never expires")
	if !p.links("/keys/" + id) {
		t.Fatal("the key has no link")
	}
}

// TestIncident counts the affected keys, opens an incident, and closes it.
func TestIncident(t *testing.T) {
	g := newRig(t)
	g.sign()
	const at = "/security/incidents/new"
	id, secret := g.Key("live", "read")
	g.Key("test", "read")
	g.get("/security/incidents").want(200).says("No incidents")
	g.get(at).want(200).says("What happened", "revoke the affected keys now")
	form := url.Values{"title": {evil}, "type": {"live"}, "action": {"revoke"}, "freeze": {"1"}, "once": {"i"}, "do": {"find"}}
	g.post(at, form).want(200).says("1 key matches now")
	g.Do(g.Admin.URL, "GET", "/v1/limits", secret, "").Want(t, 200) // counting revokes nothing
	g.post(at, url.Values{"title": {"x"}, "action": {"revoke"}, "do": {"find"}}).want(422).says("choose by what")
	g.post(at, url.Values{"title": {"x"}, "action": {"revoke"}, "do": {"open"}, "once": {"j"}}).want(422).says("choose by what")
	form.Set("do", "open")
	p := g.post(at, form).want(200).says(evil, "No node accepts the affected keys any more", "n1: applied", "1, 1 revoked, 0 replaced", "account frozen", "type live")
	if !p.links("/keys/" + id) {
		t.Fatal("the affected key has no link")
	}
	g.Do(g.Admin.URL, "GET", "/v1/limits", secret, "").Want(t, 401, "key_revoked")
	g.post("/keys/new", url.Values{"name": {"x"}, "type": {"test"}, "scopes": {"read"}, "once": {"f"}}).want(409) // frozen

	row := g.get("/security/incidents").want(200).says(evil, "open", "freeze").all("td", "name")[0]
	inc := attr(row.FirstChild, "href")
	if raw := g.get(inc + "/report").want(200); !strings.HasPrefix(raw.raw, `{"report":{`) || !strings.HasPrefix(raw.header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("the report is %.300s", raw.raw)
	}
	r, err := http.NewRequest("GET", g.pages.URL+inc+"/report?format=html", nil)
	apitest.Must(t, err)
	r.Header.Set("Cookie", g.cookie)
	resp, err := http.DefaultClient.Do(r)
	apitest.Must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("the report to print is %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	g.post(inc+"/close", url.Values{"once": {"c"}}).want(303)
	g.get(inc).want(200).says("closed", "was frozen")
	g.post("/keys/new", url.Values{"name": {"x"}, "type": {"test"}, "scopes": {"read"}, "once": {"g"}}).want(200)
}

// TestIncidentThatRotates shows the new keys once.
func TestIncidentThatRotates(t *testing.T) {
	g := newRig(t)
	id, old := g.Key("live", "read")
	form := url.Values{"title": {"leak"}, "ids": {id}, "action": {"rotate"}, "once": {"r"}, "do": {"open"}}
	p := g.post("/security/incidents/new", form).want(200).says("New keys, shown once", "1, 0 revoked, 1 replaced")
	line := strings.Fields(textOf(p.all("pre", "")[0]))
	if len(line) != 3 || line[0] != id {
		t.Fatalf("the line is %q", line)
	}
	g.Do(g.Admin.URL, "GET", "/v1/limits", line[2], "").Want(t, 200)
	g.Do(g.Admin.URL, "GET", "/v1/limits", old, "").Want(t, 401)
	if again := g.post("/security/incidents/new", form).want(200); strings.Contains(again.raw, line[2]) {
		t.Fatal("the new key is shown twice")
	}
	inc := attr(g.get("/security/incidents").want(200).all("td", "name")[0].FirstChild, "href")
	if strings.Contains(g.get(inc).want(200).raw, line[2]) {
		t.Fatal("the incident's page shows the new key")
	}
}

// TestWouldAddressPass asks the page about addresses, by the list in the form, which is not saved.
func TestWouldAddressPass(t *testing.T) {
	g := newRig(t)
	const at = "/security/allowlist"
	viewer := g.as("viewer")
	const text = "# office\r\n203.0.113.7/24 # gate\r\n\r\n::ffff:198.51.100.0/120\r\n2001:db8::/32\r\n203.0.113.0/25"
	for _, c := range []struct{ text, address, says string }{
		{text, "203.0.113.200", "203.0.113.200 passes, by line 2 : 203.0.113.7/24"},
		{text, " ::ffff:203.0.113.1 ", "passes, by line 2 : 203.0.113.7/24"},
		{text, "198.51.100.9", "passes, by line 4"},
		{text, "2001:DB8::5", "passes, by line 5"},
		{text, "192.0.2.1", "192.0.2.1 would be refused: no line contains it."},
		{"# none", "192.0.2.1", "passes: an empty list allows every address."},
		{"192.0.2.1\nx", "192.0.2.1", "Line 2"},
		{text, "203.0.113.0/24", "Enter one address"},
		{text, "fe80::1%eth0", "Enter one address"},
		{text, "", "Enter one address"},
		{text, evil, "Enter one address"},
	} {
		for _, role := range []*rig{g, viewer} {
			p := role.post(at, url.Values{"do": {"check"}, "etag": {"\"7\""}, "entries": {c.text}, "probe": {c.address}}).want(200).says(c.says)
			if p.field("etag") != "\"7\"" || p.field("probe") != c.address || !strings.Contains(textOf(p.all("textarea", "")[0]), strings.Fields(c.text)[0]) {
				t.Errorf("%q: the form is not as it was", c.address)
			}
		}
	}
	if n := len(g.Op("GET", "/v1/allowlist", "").JSON["entries"].([]any)); n != 0 {
		t.Fatalf("%d entries were saved", n)
	}
}
