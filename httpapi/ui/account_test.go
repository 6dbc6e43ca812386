package ui_test

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// values are the fields of the page's largest form that posts to target, as a browser sends
// them when nothing is changed.
func (p *shown) values(target string) url.Values {
	p.t.Helper()
	largest := url.Values{}
	for _, f := range p.all("form", "") {
		if attr(f, "action") != target || attr(f, "method") != "post" {
			continue
		}
		form := url.Values{}
		for n := range f.Descendants() {
			name := attr(n, "name")
			if n.Type != html.ElementNode || name == "" {
				continue
			}
			switch kind := attr(n, "type"); {
			case n.Data == "input" && (kind == "checkbox" || kind == "radio"):
				if has(n, "checked") {
					form.Add(name, attr(n, "value"))
				}
			case n.Data == "input":
				form.Add(name, attr(n, "value"))
			case n.Data == "textarea":
				form.Add(name, textOf(n))
			case n.Data == "select":
				form.Add(name, picked(n))
			}
		}
		if len(form) > len(largest) {
			largest = form
		}
	}
	if len(largest) == 0 {
		p.t.Fatalf("no form posts to %s", target)
	}
	return largest
}

// picked is the value of a select.
func picked(n *html.Node) string {
	first, any := "", false
	for o := range n.Descendants() {
		if o.Type != html.ElementNode || o.Data != "option" {
			continue
		}
		value := attr(o, "value")
		if !has(o, "value") {
			value = textOf(o)
		}
		if has(o, "selected") {
			return value
		}
		if !any {
			first, any = value, true
		}
	}
	return first
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

// with is a form with some fields changed.
func with(form url.Values, pairs ...string) url.Values {
	out := maps.Clone(form)
	for i := 0; i+1 < len(pairs); i += 2 {
		out.Set(pairs[i], pairs[i+1])
	}
	return out
}

// TestAccountSettings: an owner sees what applies and changes the account's own settings.
func TestAccountSettings(t *testing.T) {
	g := newRig(t)
	owner := g.as("owner")
	p := owner.get("/account").want(200).says("default", "enterprise", "Limits that apply now", "3,000", "1,500", "Alerts at")
	form := p.values("/account")
	owner.post("/account", form).want(303) // nothing is changed
	owner.post("/account", with(form, "name", evil, "browser_keys", "block", "alert_thresholds", "90, 50%, 90", "retention_days", "20")).want(303)
	a := g.Op("GET", "/v1/account", "").JSON
	if a["name"] != evil || a["browser_keys"] != "block" || fmt.Sprint(a["retention_days"]) != "20" || len(a["alert_thresholds"].([]any)) != 2 {
		t.Fatalf("the account is %v", a)
	}
	p = owner.get("/account?saved=1").want(200).says(evil, "Saved")
	if p.field("alert_thresholds") != "50, 90" {
		t.Fatalf("the thresholds are %q", p.field("alert_thresholds"))
	}
	form = p.values("/account")
	owner.post("/account", with(form, "retention_days", "30")).want(422).says("can only be shortened here")
	if bad := owner.post("/account", with(form, "alert_thresholds", "many", "name", "kept")).want(422).says("whole numbers such as"); bad.field("name") != "kept" {
		t.Fatal("what was entered is gone")
	}
	admin := g.as("admin")
	if p := admin.get("/account").want(200); strings.Contains(p.raw, "retention_days") {
		t.Fatal("an admin is offered to shorten the retention")
	}
	viewer := g.as("viewer")
	if p := viewer.get("/account").want(200).says("Requests are kept for", "20 days"); len(p.all("textarea", ""))+len(p.all("select", "")) != 0 {
		t.Fatal("a viewer is offered a form")
	}
	viewer.post("/account", form).want(303) // changes nothing
	viewer.post("/account", with(form, "name", "x")).want(403)
}

// TestShadowRule: a rule is tried on past traffic, and what it would have refused is shown.
func TestShadowRule(t *testing.T) {
	g := newRig(t)
	g.Op("PATCH", "/v1/accounts/default", `{"limit_rules":[{"name":"chat","per":"account","requests":2,"window":"1m","shadow":true,"match":{"route":"/v1/chat"}}]}`).Want(t, 200)
	id, _ := g.Key("live", "read")
	g.observe(id, 1, 9, func(o *local.Observation) { o.Limits = &store.EventLimits{WouldRefuse: []string{"chat"}} })
	p := g.get("/account").want(200).says("chat", "/v1/chat", "shadow", "would have refused 9 requests this month")
	g.Now.Add(int64(120e9)) // the minute of the requests is over
	g.post("/account", url.Values{"do": {"try"}, "rule": {"chat"}}).want(200).says("of 9 requests it would have refused")
	g.post("/account", url.Values{"do": {"try"}, "rule": {"gone"}}).want(404).says("no rule with this name")
	if strings.Contains(p.text(), "of 9 requests") {
		t.Fatal("the result stands there before it was asked for")
	}
}

// TestManageAccounts makes, changes, suspends and deletes an account as an operator does.
func TestManageAccounts(t *testing.T) {
	g := newRig(t)
	g.post("/accounts/new", url.Values{"name": {""}, "once": {"0"}}).want(422)
	made := g.post("/accounts/new", url.Values{"name": {"Acme"}, "tier": {"pro"}, "limits_requests_per_minute": {"6,000"}, "once": {"1"}}).want(303)
	at := made.header.Get("Location")
	id := strings.TrimPrefix(at, "/accounts/")
	read := func() map[string]any { return g.Op("GET", "/v1/accounts/"+id, "").Want(t, 200).JSON }
	form := g.get(at).want(200).says("Acme", "active").values(at)
	before := read()
	if form.Get("limits_requests_per_minute") != "6000" || form.Get("tier") != "pro" {
		t.Fatalf("the form is %v", form)
	}
	g.post(at, form).want(303)
	if after := read(); after["tier"] != before["tier"] || after["limits"] == nil || after["key_policy"] != nil {
		t.Fatalf("saving what is stored has changed it: %v", after)
	}
	g.post(at, with(form, "tier", "enterprise", "limits_requests_per_minute", "", "max_ttl", "90d", "max_keys", "5", "must_expire", "1",
		"rule0_name", "chat", "rule0_requests", "10", "rule0_window", "1h", "rule0_per", "key", "rule0_route", "/v1/chat", "rule0_shadow", "1", "rule0_until", "2099-01-31")).want(303)
	a := read()
	rule := a["limit_rules"].([]any)[0].(map[string]any)
	if policy := a["key_policy"].(map[string]any); a["tier"] != "enterprise" || a["limits"] != nil || policy["max_ttl"] != "2160h" || fmt.Sprint(policy["max_keys"]) != "5" || policy["must_expire"] != true {
		t.Fatalf("the account is %v", a)
	}
	if fmt.Sprint(rule["requests"]) != "10" || rule["per"] != "key" || rule["shadow"] != true || rule["until"] != "2099-01-31T00:00:00Z" || rule["match"].(map[string]any)["route"] != "/v1/chat" {
		t.Fatalf("the rule is %v", rule)
	}
	p := g.get(at).want(200)
	if p.field("rule0_name") != "chat" || p.field("rule1_name") != "" || p.field("max_ttl") != "2160h" {
		t.Fatal("the form does not hold what is stored")
	}
	form = p.values(at)
	bad := g.post(at, with(form, "rule1_name", "minute", "rule1_requests", "many")).want(422).says("requests of the rule minute must be a whole number")
	if bad.field("rule1_name") != "minute" || bad.field("rule1_requests") != "many" {
		t.Fatal("what was entered is gone")
	}
	g.post(at, with(form, "rule0_remove", "1", "max_ttl", "", "max_keys", "")).want(303)
	if a := read(); len(a["limit_rules"].([]any)) != 0 {
		t.Fatalf("the rule is still there: %v", a)
	}
	g.post(at, url.Values{"do": {"suspend"}}).want(303)
	g.get("/accounts").want(200).says("Acme", "suspended")
	g.get(at).want(200).says("suspended", "Resume")
	g.post(at, url.Values{"do": {"resume"}}).want(303)
	g.post(at, url.Values{"do": {"delete"}, "confirm": {"acme"}}).want(422).says("type the name of the account")
	g.post(at, url.Values{"do": {"delete"}, "confirm": {"Acme"}}).want(303)
	g.get(at).want(404)
	if p := g.get("/accounts/default").want(200); strings.Contains(p.text(), "Type the name of the account") {
		t.Fatal("the default account can be deleted")
	}
}

// TestManageTiers makes, changes and deletes a tier.
func TestManageTiers(t *testing.T) {
	g := newRig(t)
	g.post("/tiers/new", url.Values{"name": {"Team!"}, "once": {"0"}}).want(422).says("must be 1–64 of")
	g.post("/tiers/new", url.Values{"name": {"team"}, "live_requests_per_minute": {"100"}, "live_requests_per_month": {"5000"}, "ip_allowlist": {"1"}, "once": {"1"}}).want(303)
	g.get("/tiers").want(200).says("team", "100", "5,000", "yes")
	const at = "/tiers/team"
	form := g.get(at).want(200).values(at)
	if form.Get("live_requests_per_minute") != "100" || form.Get("test_requests_per_minute") != "50" || form.Get("ip_allowlist") != "1" {
		t.Fatalf("the form is %v", form)
	}
	// Test limits that follow the live ones go on following them.
	g.post(at, with(form, "live_requests_per_minute", "300")).want(303)
	tier := g.Op("GET", "/v1/tiers/team", "").JSON
	if fmt.Sprint(tier["test"].(map[string]any)["requests_per_minute"]) != "150" || tier["features"].(map[string]any)["ip_allowlist"] != true {
		t.Fatalf("the tier is %v", tier)
	}
	g.post(at, with(form, "live_requests_per_minute", "fast")).want(422).says("live requests per minute must be a whole number")
	g.post(at, url.Values{"do": {"delete"}, "confirm": {"team "}}).want(303)
	g.get(at).want(404)
	g.Op("POST", "/v1/accounts", `{"name":"x","tier":"pro"}`).Want(t, 201)
	g.post("/tiers/pro", url.Values{"do": {"delete"}, "confirm": {"pro"}}).want(409)
}

// TestCompliance: the controls with what was measured, and the report as a file.
func TestCompliance(t *testing.T) {
	g := newRig(t)
	p := g.get("/compliance").want(200).says("Controls", "Need attention", "Measured", "Check it yourself")
	if len(p.all("details", "")) < 5 {
		t.Fatal("controls are missing")
	}
	raw := g.get("/compliance/report").want(200)
	if !strings.Contains(raw.raw, `"control"`) || !strings.Contains(raw.header.Get("Content-Disposition"), "compliance.json") {
		t.Fatalf("the report is %.200s", raw.raw)
	}
}
