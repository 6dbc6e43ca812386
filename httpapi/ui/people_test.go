package ui_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/ui"
)

// as is the rig with the browser of somebody with a role, in the default account.
func (g *rig) as(role string) *rig {
	g.t.Helper()
	other := *g
	other.cookie = g.Person(role+"@example.com", role, "").Cookie
	return &other
}

// TestRoles asks for every page with every role. What the API refuses is a page that says
// so, and no page shows a link or a button that the role has no use of.
func TestRoles(t *testing.T) {
	g := newRig(t)
	g.sign()
	id, _ := g.Key("live", "read")
	incident := g.Op("POST", "/v1/incidents", `{"title":"x","action":"none"}`).Want(t, 201).Text("id")
	hook := g.Op("POST", "/v1/webhooks", `{"url":"https://example.com/"}`).Want(t, 201).Text("id")
	user := g.Op("POST", "/v1/users", `{"email":"new@example.com","role":"viewer"}`).Want(t, 201).Text("id")
	erasure := g.Op("DELETE", "/v1/account/data", `{"confirm":"default"}`).Want(t, 202).Text("id")
	all := []string{"operator", "owner", "admin", "developer", "viewer"}
	people := map[string]*rig{}
	for _, role := range all {
		people[role] = g.as(role)
	}
	pages := []struct {
		path  string
		roles string // that may see it
	}{
		{"/keys/new", "operator owner admin developer"}, {"/keys/" + id + "/first", "operator owner admin developer viewer"},
		{"/keys/" + id + "/edit", "operator owner admin"}, {"/keys/" + id + "/rotate", "operator owner admin"}, {"/keys/" + id + "/revoke", "operator owner admin"},
		{"/security/incidents/new", "operator owner admin"}, {"/webhooks/new", "operator owner admin"}, {"/webhooks/" + hook, "operator owner admin viewer"},
		{"/users/new", "operator owner"}, {"/users/" + user, "operator owner"}, {"/link", "operator owner admin"}, {"/tiers/new", "operator"},
		{"/second-factor", "operator owner admin developer viewer"}, {"/password", "operator owner admin developer viewer"},
		{"/account/erasures/" + erasure, "operator owner"}, {"/account/erasures/" + erasure + "/receipt", ""},
		{"/", "operator owner admin developer viewer"}, {"/keys", "operator owner admin developer viewer"}, {"/keys/" + id, "operator owner admin developer viewer"},
		{"/usage", "operator owner admin developer viewer"}, {"/usage/export", "operator owner admin developer viewer"},
		{"/security", "operator owner admin viewer"}, {"/security/hygiene", "operator owner admin viewer"}, {"/security/incidents", "operator owner admin viewer"},
		{"/security/incidents/" + incident, "operator owner admin viewer"}, {"/security/incidents/" + incident + "/report", "operator owner admin viewer"},
		{"/security/allowlist", "operator owner admin viewer"}, {"/audit", "operator owner admin viewer"}, {"/webhooks", "operator owner admin viewer"}, {"/audit/export?format=csv", "operator owner admin viewer"}, {"/audit/verify", "operator owner admin viewer"},
		{"/account", "operator owner admin viewer"},
		{"/users", "operator owner"}, {"/accounts", "operator"}, {"/accounts/new", "operator"}, {"/accounts/default", "operator"}, {"/tiers", "operator"}, {"/tiers/pro", "operator"},
		{"/compliance", "operator"}, {"/compliance/report", "operator"}, {"/cluster", "operator"}, {"/tokens", "operator"}, {"/keyring", "operator"}, {"/backup", "operator"},
		{"/account/erasures", "operator owner"}, {"/account/data", "operator owner"},
		{"/sessions", "operator owner admin developer viewer"},
	}
	for _, pattern := range ui.Patterns() {
		method, path, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
		shape := regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, `\w+`) + `(\?.*)?$`)
		covered := path == "/signin" // without a session
		for _, c := range pages {
			covered = covered || shape.MatchString(c.path)
		}
		if method == "GET" && !covered {
			t.Errorf("no role was tried on %s", pattern)
		}
	}
	for _, c := range pages {
		for _, role := range all {
			may, b := strings.Contains(c.roles, role), people[role]
			status := 403
			if may {
				status = 200
			} else if strings.HasSuffix(c.path, "/receipt") && slices.Contains([]string{"operator", "owner"}, role) {
				status = 404 // the erasure is to come
			}
			if p := b.get(c.path); p.status != status {
				t.Errorf("%s as %s: status %d, want %d", c.path, role, p.status, status)
			}
			home := b.get("/keys").want(200)
			if shown := home.links(c.path); strings.Count(c.path, "/") == 1 && !strings.Contains(c.path, "?") && !slices.Contains([]string{"/link", "/second-factor", "/password"}, c.path) && shown != may {
				t.Errorf("%s as %s: the navigation has it: %v", c.path, role, shown)
			}
		}
	}
	for _, role := range all {
		b, makes := people[role], role != "viewer"
		if b.get("/keys").links("/keys/new") != makes {
			t.Errorf("%s is offered to make a key: %v", role, !makes)
		}
		changes := slices.Contains([]string{"operator", "owner", "admin"}, role)
		if b.get("/keys/"+id).links("/keys/"+id+"/revoke") != changes {
			t.Errorf("%s is offered to revoke the key of another: %v", role, !changes)
		}
		p := b.post("/keys/new", url.Values{"name": {"of " + role}, "type": {"test"}, "scopes": {"read"}, "once": {role}})
		if (p.status == 200) != makes {
			t.Errorf("%s makes a key: status %d", role, p.status)
		}
	}
	own := people["developer"].get("/keys?q=of+developer").want(200)
	link := attr(own.all("td", "name")[0].FirstChild, "href")
	if !people["developer"].get(link).want(200).links(link + "/revoke") {
		t.Error("a developer is not offered to revoke their own key")
	}
	people["developer"].post("/keys/"+id+"/revoke", url.Values{"confirm": {"test key"}, "once": {"z"}}).want(403).says("created by another")
	people["viewer"].post("/security/allowlist", url.Values{"entries": {"127.0.0.1"}}).want(403)
	people["viewer"].post("/security/incidents/new", url.Values{"title": {"x"}, "action": {"none"}, "do": {"open"}}).want(403)
	for _, role := range all {
		opens := slices.Contains([]string{"operator", "owner", "admin"}, role)
		if people[role].get("/security/incidents").links("/security/incidents/new") != opens {
			t.Errorf("%s is offered to open an incident: %v", role, !opens)
		}
	}
}

// TestSignIn: wrong credentials say so, right ones lead to where the visit began, and
// signing out ends the session.
func TestSignIn(t *testing.T) {
	g := newRig(t)
	g.Person("owner@example.com", "owner", "")
	g.cookie = ""
	g.post("/signin", url.Values{"token": {"pgop_wrong"}}).want(401).says("The token is not known")
	g.post("/signin", url.Values{"email": {"owner@example.com"}, "password": {"wrong"}}).want(401).says("is not right")
	p := g.post("/signin?next=%2Fkeys%3Ftype%3Dlive", url.Values{"email": {"owner@example.com"}, "password": {apitest.Password}}).want(303)
	if to := p.header.Get("Location"); to != "/keys?type=live" {
		t.Fatalf("it leads to %q", to)
	}
	g.enter(p)
	g.get("/").want(200).says("owner of owner@example.com", "Sign out")
	g.get("/signin").want(200)
	old := g.cookie
	g.post("/signout", nil).want(303)
	g.cookie = old
	g.get("/keys").want(303)
}

// TestUserLifeCycle: an owner adds a user, who chooses a password by the link, and later
// ends their access together with their keys.
func TestUserLifeCycle(t *testing.T) {
	g := newRig(t)
	owner := g.as("owner")
	if p := owner.get("/users/new").want(200); strings.Contains(p.text(), "manage the installation") {
		t.Fatal("an owner is offered to make an operator")
	}
	owner.post("/users/new", url.Values{"email": {"dev@example.com"}, "role": {"operator"}, "once": {"0"}}).want(403)
	made := owner.post("/users/new", url.Values{"email": {"dev@example.com"}, "name": {"<b>Dev</b>"}, "role": {"developer"}, "once": {"1"}}).want(200)
	u, err := url.Parse(made.field("secret"))
	apitest.Must(t, err)
	if u.Path != "/signin/setup" {
		t.Fatalf("the link is %q", u.Path)
	}
	dev := *g
	dev.cookie = ""
	if policy := dev.get(u.RequestURI()).want(200).header.Get("Referrer-Policy"); policy != "same-origin" {
		t.Fatalf("the referrer policy is %q: browsers send no origin with the form", policy)
	}
	entered := dev.post(u.Path, url.Values{"token": {u.Query().Get("token")}, "password": {"correct horse battery"}}).want(200)
	dev.enter(entered)
	dev.get("/keys").want(200).says("developer")
	secret := dev.post("/keys/new", url.Values{"name": {"dev key"}, "type": {"test"}, "scopes": {"read"}, "once": {"k"}}).want(200).field("secret")

	dev.post("/password", url.Values{"current": {"wrong"}, "password": {"another long password"}, "again": {"another long password"}}).want(401).says("current")
	dev.post("/password", url.Values{"current": {"correct horse battery"}, "password": {"another long password"}, "again": {"another long password"}}).want(303)

	list := owner.get("/users").want(200).says("dev@example.com", "<b>Dev</b>", "developer", "active")
	at := ""
	for _, a := range list.all("a", "") {
		if textOf(a) == "dev@example.com" {
			at = attr(a, "href")
		}
	}
	owner.post(at, url.Values{"do": {"role"}, "role": {"viewer"}}).want(303)
	owner.get(at).want(200).says("Role viewer")
	owner.post(at, url.Values{"do": {"disable"}, "revoke_keys": {"1"}, "once": {"d"}}).want(200).says("1 of their keys were revoked", "n1: applied")
	dev.get("/keys").want(303)
	g.Do(g.Admin.URL, "GET", "/v1/limits", secret, "").Want(t, 401, "key_revoked")
	owner.post(at, url.Values{"do": {"enable"}}).want(303)
	if again := owner.post(at, url.Values{"do": {"reset"}, "once": {"e"}}).want(200); !strings.Contains(again.field("secret"), "/signin/setup?token=") {
		t.Fatal("no link")
	}
}

// TestSessionsAndTokens: sessions and operator tokens are listed and ended, and a new token
// signs in.
func TestSessionsAndTokens(t *testing.T) {
	g := newRig(t)
	owner := g.as("owner")
	list := owner.get("/sessions").want(200).says("this one", "user")
	if list.links("/tokens") {
		t.Fatal("an owner sees operator tokens")
	}
	end := ""
	for _, f := range g.get("/sessions").want(200).all("form", "") {
		if strings.HasSuffix(attr(f, "action"), "/end") {
			end = attr(f, "action")
		}
	}
	g.post(end, nil).want(303)
	owner.get("/keys").want(303)

	token := g.post("/tokens", url.Values{"name": {"<i>job</i>"}, "expires": {"30d"}, "once": {"t"}}).want(200).field("secret")
	fields := g.get("/tokens").want(200).says("<i>job</i>", "in 30 days")
	job := *g
	job.enter(job.post("/signin", url.Values{"token": {token}}).want(303))
	job.get("/cluster").want(200)
	id := ""
	for _, in := range fields.all("input", "") {
		if attr(in, "name") == "id" {
			id = attr(in, "value")
		}
	}
	g.post("/tokens", url.Values{"id": {id}}).want(303)
	if left := g.get("/tokens").want(200); strings.Count(left.text(), "End ") < 1 {
		t.Fatal("no token is left")
	}
}

// TestCustomerLink: a customer without a user manages the keys of their account, and
// nothing else.
func TestCustomerLink(t *testing.T) {
	g := newRig(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme","tier":"pro"}`).Want(t, 201).Text("id")
	made := g.post("/link?account="+acct, url.Values{"scope": {"admin"}, "once": {"l"}}).want(200).says("once, within 15 minutes")
	u, err := url.Parse(made.field("secret"))
	apitest.Must(t, err)
	customer := *g
	customer.cookie = ""
	page := customer.send("GET", u.RequestURI(), nil, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document").want(200)
	opened := customer.post("/signin/link", url.Values{"token": {page.field("token")}})
	opened.want(200)
	customer.cookie, _, _ = strings.Cut(opened.header.Get("Set-Cookie"), ";")
	home := customer.get("/").want(200)
	if home.links("/users") || home.links("/cluster") || !home.links("/keys") {
		t.Fatal("the navigation is another one")
	}
	customer.post("/keys/new", url.Values{"name": {"theirs"}, "type": {"live"}, "scopes": {"read"}, "once": {"1"}}).want(200)
	customer.get("/keys").want(200).says("theirs")
	customer.get("/users").want(403)
	if k := g.Op("GET", "/v1/keys", "", "X-Perf-Account", acct).JSON["data"].([]any); len(k) != 1 {
		t.Fatalf("the account has %d keys", len(k))
	}
}

// TestEntryPagesHaveTheStyle: the pages behind links look like the dashboard's, with the same
// style sheet.
func TestEntryPagesHaveTheStyle(t *testing.T) {
	g := newRig(t)
	for _, path := range []string{"/signin/setup?token=x", "/signin/link?token=x"} {
		sheets := 0
		for _, l := range g.get(path).want(200).all("link", "") {
			if attr(l, "rel") == "stylesheet" {
				sheets++
				if css := g.get(attr(l, "href")).want(200); !strings.HasPrefix(css.header.Get("Content-Type"), "text/css") {
					t.Errorf("%s: the style sheet is %s", path, css.header.Get("Content-Type"))
				}
			}
		}
		if sheets != 1 {
			t.Errorf("%s has %d style sheets", path, sheets)
		}
	}
}
