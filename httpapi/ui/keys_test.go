package ui_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
)

// TestKeyLifeCycle makes, rotates, disables and revokes a key by the forms that a person
// would send.
func TestKeyLifeCycle(t *testing.T) {
	g := newRig(t)
	g.get("/keys").want(200).says("No keys yet", "Generate New Key")
	form := g.get("/keys/new").want(200)
	fields := url.Values{"once": {form.field("once")}, "name": {"Production Server"}, "type": {"live"}, "environment": {"production"}, "scopes": {"read"}, "other_scopes": {"reports:export"}, "expires": {"90d"}, "requests_per_minute": {"600"}}

	made := g.post("/keys/new", fields).want(200).says("the only time", "I have stored the key", "PERF_API_KEY")
	secret := made.field("secret")
	if !strings.HasPrefix(secret, "pk_live_") || made.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the page shows %q with %v", secret, made.header)
	}
	g.get("/keys").want(200).says("never")
	g.Do(g.Admin.URL, "GET", "/v1/limits", secret, "").Want(t, 200) // the key is accepted
	apitest.Must(t, g.Local.Flush())
	if again := g.post("/keys/new", fields).want(200); strings.Contains(again.raw, secret) || !strings.Contains(again.text(), "cannot be shown again") {
		t.Fatal("a form that was sent twice shows the secret twice, or makes two keys")
	}
	list := g.get("/keys").want(200).says("Production Server", "live", "production", "read", "reports:export", "active", "now 127.0.0.1", "in 90 days expires")
	if n := len(list.all("tr", "")); n != 2 || strings.Contains(list.raw, secret) {
		t.Fatalf("the list has %d rows, or holds the secret", n)
	}

	id := g.Op("GET", "/v1/keys?name=Production+Server", "").JSON["data"].([]any)[0].(map[string]any)["id"].(string)
	key := "/keys/" + id
	g.get(key).want(200).says("Production Server", id, "key.create", "Limits that apply now", "600")
	g.post(key+"/state", url.Values{"state": {"disabled"}}).want(303)
	g.get(key).want(200).says("disabled", "Enable")
	g.post(key+"/state", url.Values{"state": {"active"}}).want(303)

	edit := g.get(key + "/edit").want(200)
	if edit.field("requests_per_minute") != "600" || edit.field("other_scopes") != "reports:export" {
		t.Fatal("the form does not hold the key's settings")
	}
	g.post(key+"/edit", url.Values{"name": {"Renamed"}, "scopes": {"read", "write"}, "expires": {"keep"}, "routes": {"/v1/chat\n/v1/models\n"}}).want(303)
	k := g.Op("GET", "/v1/keys/"+id, "").JSON
	if k["name"] != "Renamed" || k["limits"] != nil || k["environment"] != nil || k["expires_at"] == nil || len(k["routes"].([]any)) != 2 || len(k["scopes"].([]any)) != 2 {
		t.Fatalf("the key is %v", k)
	}

	rotated := g.post(key+"/rotate", url.Values{"overlap": {"24h"}, "once": {"r1"}}).want(200).says("is accepted until")
	if next := rotated.field("secret"); next == secret || !strings.HasPrefix(next, "pk_live_") {
		t.Fatalf("rotation shows %q", next)
	}
	g.get("/keys?state=rotating").want(200).says("rotating", "ends in 1 day", "State: rotating")

	g.get(key+"/revoke").want(200).says("Type the name of this live key", "cannot be undone")
	g.post(key+"/revoke", url.Values{"confirm": {"renamed"}, "reason": {"leaked"}, "once": {"v1"}}).want(422).says("type the name of the key")
	g.Do(g.Admin.URL, "GET", "/v1/limits", secret, "").Want(t, 200)
	g.post(key+"/revoke", url.Values{"confirm": {"Renamed"}, "reason": {"leaked"}, "once": {"v2"}}).want(200).
		says("The key is revoked", "No node accepts the key any more", "n1 applied", "still accepted")
	g.Do(g.Admin.URL, "GET", "/v1/limits", secret, "").Want(t, 401, "key_revoked")
	if rows := g.get("/keys?state=revoked").want(200).says("leaked").all("tr", "ended"); len(rows) != 1 {
		t.Fatalf("%d rows are grey", len(rows))
	}
	if page := g.get(key).want(200); page.links(key+"/revoke") || page.links(key+"/edit") {
		t.Fatal("a revoked key can be changed")
	}
}

// TestUnconfirmedRevocation: a node that does not confirm is named, and nothing says that
// the key is gone everywhere.
func TestUnconfirmedRevocation(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("test", "read")
	g.Backend.Partial = true
	p := g.post("/keys/"+id+"/revoke", url.Values{"once": {"a"}}).want(200).says("not confirmed by every node", "n2 unconfirmed")
	if strings.Contains(p.text(), "No node accepts") {
		t.Fatal("the page says that no node accepts the key")
	}
}

// TestKeyFormFaults: every fault of the form is shown, and what was entered stays.
func TestKeyFormFaults(t *testing.T) {
	g := newRig(t)
	p := g.post("/keys/new", url.Values{"name": {" "}, "type": {"live"}, "scopes": {"verify"}, "routes": {"no-slash"}, "allowlist": {"10.0.0.300"}, "once": {"x"}}).want(422)
	p.says("name: ", "routes.0: ", "allowlist.0: ")
	for _, box := range p.all("input", "") {
		_, ticked := "", false
		for _, a := range box.Attr {
			ticked = ticked || a.Key == "checked"
		}
		if attr(box, "name") == "scopes" && ticked != (attr(box, "value") == "verify") {
			t.Errorf("the box %s is ticked: %v", attr(box, "value"), ticked)
		}
	}
	g.post("/keys/new", url.Values{"name": {"a"}, "type": {"test"}, "scopes": {"read"}, "requests_per_minute": {"many"}, "monthly_budget": {"1e9"}, "once": {"y"}}).
		want(422).says("requests per minute must be a whole number", "monthly_budget")
	g.get("/keys").says("No keys yet")
	id, _ := g.Key("test", "read")
	g.post("/keys/"+id+"/edit", url.Values{"name": {"a"}, "expires": {"keep"}}).want(422).says("choose at least one")
	if k := g.Op("GET", "/v1/keys/"+id, "").JSON; k["name"] == "a" {
		t.Errorf("the key is %v", k)
	}
}

// TestLimitsOfManyKeys: the uses of the limits of all keys on a page are one call.
func TestLimitsOfManyKeys(t *testing.T) {
	g := newRig(t)
	for range 3 {
		id, _ := g.Key("live", "read")
		g.observe(id, 1, 1, nil)
		g.Op("PATCH", "/v1/keys/"+id, `{"limits":{"requests_per_minute":3}}`).Want(t, 200)
	}
	calls := func() string {
		for line := range strings.Lines(g.Op("GET", "/metrics", "").Want(t, 200).Body) {
			if strings.HasPrefix(line, "perfgate_api_requests_total") && strings.Contains(line, `"limits"`) {
				return strings.Fields(line)[1]
			}
		}
		return "0"
	}
	g.get("/keys").want(200)
	if n := calls(); n != "1" {
		t.Errorf("the page made %s calls about limits", n)
	}
}

// TestRotatingKey: the page of a key that is being replaced counts down, and names who still
// uses it.
func TestRotatingKey(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("live", "read")
	form := g.get("/keys/"+id+"/rotate").want(200).says("Until the old key was not used for 15 minutes", "scopes, limits, budget")
	g.post("/keys/"+id+"/rotate", url.Values{"once": {form.field("once")}, "overlap": {"until_unused"}}).want(200)
	now, _ := g.Config.Clock()
	p := g.get("/keys/"+id).want(200).says("accepted for another 720:00:00", "If it is not used again, it ends in 15 min", "It was not used since the rotation")
	if timers := p.all("b", "num"); len(timers) != 1 || attr(timers[0], "data-until") == "" {
		t.Error("nothing counts down")
	}
	g.Profiles = map[store.KeyID]insight.Profile{store.KeyID(id): {Recent: []insight.User{{IP: netip.MustParseAddr("203.0.113.7"), Country: "DE", Agent: evil, At: now}}}}
	g.Now.Add(int64(12 * time.Second))
	g.get("/keys/"+id).want(200).says("Still used by:", "203.0.113.7", "DE", "12 s ago", evil)
}

// TestKeyFilters: the filters stand in the URL, each can be removed, and paging keeps them.
func TestKeyFilters(t *testing.T) {
	g := newRig(t)
	for range 51 {
		g.Key("test", "read")
	}
	g.Key("live", "read")
	p := g.get("/keys?type=test&q=test+key").want(200).says("Type: test", "Contains: test key")
	if !p.links("/keys?type=test") || !p.links("/keys?q=test+key") {
		t.Fatal("a filter cannot be removed")
	}
	next := ""
	for _, a := range p.all("a", "button") {
		if textOf(a) == "Next page" {
			next = attr(a, "href")
		}
	}
	if !strings.Contains(next, "type=test") {
		t.Fatalf("the next page is %q", next)
	}
	if rows := len(p.all("tr", "")); rows != 51 {
		t.Fatalf("%d rows", rows)
	}
	if rows := len(g.get(next).want(200).all("tr", "")); rows != 2 {
		t.Fatalf("%d rows on the second page", rows)
	}
	g.get("/keys?type=other").want(422).says("must be one of", "Request req_")
	g.get("/keys?q=nothing").want(200).says("No key matches")
	g.get("/keys/key_0000000000000000000000").want(404).says("no such key")
}

// TestForeignText puts texts that would do harm in a page into every field that takes
// them. Each page is checked for scripts and attributes as it is read.
func TestForeignText(t *testing.T) {
	g := newRig(t)
	for _, s := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</title><svg onload=alert(1)>`, "{{.Me}}", strings.Repeat("W", 200),
	} {
		made := g.post("/keys/new", url.Values{"name": {s}, "type": {"live"}, "scopes": {"read"}, "environment": {s[:min(len(s), 100)]}, "once": {url.QueryEscape(s)}}).want(200)
		if h := made.all("bdi", ""); len(h) == 0 {
			t.Fatal("the name has no direction of its own")
		}
		found := g.get("/keys?q=" + url.QueryEscape(s)).want(200)
		found.says(s)
		id := strings.TrimPrefix(attr(found.all("td", "name")[0].FirstChild, "href"), "/keys/")
		g.get("/keys/" + id).want(200).says(s)
		g.get("/keys/" + id + "/edit").want(200)
		g.post("/keys/"+id+"/revoke", url.Values{"confirm": {s}, "reason": {s}, "once": {"r" + id}}).want(200).says(s)
		g.get("/keys/" + id).want(200).says(s)
	}
	id, _ := g.Key("test", "read")
	agent := "x\u202egpj.exe"
	g.Do(g.Admin.URL, "PATCH", "/v1/keys/"+id, apitest.OperatorToken, `{"metadata":{"<b>":"`+strings.Repeat("<i>", 166)+`"}}`, "User-Agent", agent).Want(t, 200)
	g.get("/keys/" + id).want(200).says("<i><i>")
	if long := g.get("/keys?q=" + strings.Repeat("y", 4_000)); long.want(422).root == nil {
		t.Fatal("no page")
	}
}
