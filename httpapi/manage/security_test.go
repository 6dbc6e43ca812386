package manage_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// Security events are failed authentications by reason, key, address, country and hint, and
// anomalies; requests of no account are shown to the account default alone.
func TestSecurityEvents(t *testing.T) {
	g := apitest.New(t)
	now, _ := g.Config.Clock()
	id, _ := g.Key("live", "read")
	_, reader := g.Key("live", "read")
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	fail := func(account, key, code string, status int, hint, country string) {
		g.Local.Observe(&local.Observation{At: now.Add(-time.Hour), Method: "GET", Route: "/a", Status: status, Code: code, Account: store.AccountID(account),
			Key: store.KeyID(key), Hint: hint, Client: netip.MustParseAddr("203.0.113.7"), Trail: local.Trail{Country: country}})
	}
	fail("", "", "invalid_key", 401, "pk_live_aaaa…bbbb", "DE")
	fail("", "", "invalid_key", 401, "pk_live_aaaa…bbbb", "DE")
	fail("default", id, "key_disabled", 401, "", "")
	fail("default", id, "requests_per_minute", 429, "", "")
	fail(acct, "key_z", "ip_not_allowed", 403, "", "")
	apitest.Must(t, g.Local.Flush())
	g.Findings = []insight.Finding{
		{ID: "fnd_1", Kind: insight.Country, At: now.Add(-time.Hour), Account: "default", Key: id, Subject: "BR", Usual: "uses from DE", Seen: "a use from BR", Window: 60},
		{ID: "fnd_2", Kind: insight.Storm, At: now.Add(-time.Hour), Subject: "203.0.113.7", Usual: "u", Seen: "s"},
		{ID: "fnd_3", Kind: insight.Rate, At: now.Add(-8 * 24 * time.Hour), Account: "default", Key: id, Usual: "u", Seen: "s"},
	}
	a := g.Op("GET", "/v1/security/events", "").Want(t, 200)
	for _, want := range []string{
		`"failed_authentications":{"requests":3,"reasons":[{"reason":"invalid_key","requests":2},{"reason":"key_disabled","requests":1}],"keys":[{"key_id":"` + id + `","requests":1}],`,
		`"countries":[{"country":"DE","requests":2}],"hints":[{"hint":"pk_live_aaaa…bbbb","requests":2}]}`,
		`{"id":"fnd_1","kind":"new_country",`, `"key_id":"` + id + `","subject":"BR","usual":"uses from DE","seen":"a use from BR","window_seconds":60}`,
		`"fnd_2"`, `"fnd_3"`, `"missing":[]`,
	} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("without %s: %s", want, a.Body)
		}
	}
	if a := g.Op("GET", "/v1/security/events?key="+id, "").Want(t, 200); strings.Contains(a.Body, "fnd_2") || !strings.Contains(a.Body, `"requests":1,"reasons":[{"reason":"key_disabled"`) {
		t.Errorf("of one key: %s", a.Body)
	}
	if a := g.Op("GET", "/v1/security/events", "", rest.AccountHeader, acct).Want(t, 200); strings.Contains(a.Body, "fnd_") || !strings.Contains(a.Body, `"requests":1,"reasons":[{"reason":"ip_not_allowed"`) {
		t.Errorf("of another account: %s", a.Body)
	}
	// An anomaly of the last week is open.
	if a := g.Op("GET", "/v1/usage/keys/"+id, "").Want(t, 200); !strings.Contains(a.Body, "fnd_1") || strings.Contains(a.Body, "fnd_2") || strings.Contains(a.Body, "fnd_3") {
		t.Errorf("of the key: %s", a.Body)
	}
	g.Do(g.Proxy.URL, "GET", "/v1/security/events", reader, "").Want(t, 403, fault.InsufficientScope)
}

// narrow is a proxy that requires the scope reports and has the route /v1/ alone.
type narrow struct{}

func (narrow) Judge(*h1.Request) ([]admit.Demand, *fault.Error) {
	return []admit.Demand{{Units: 1}}, nil
}
func (narrow) Requires(s string) bool { return s == "reports" }
func (narrow) Meets(r string) bool    { return strings.HasPrefix(r, "/v1/") }

// Each untidy key has its findings, and running a command ends the finding.
func TestHygiene(t *testing.T) {
	g := apitest.New(t, func(c *httpapi.Config) { c.Routes = narrow{} })
	g.Profiles = map[store.KeyID]insight.Profile{}
	create := func(body string) string { return g.Op("POST", "/v1/keys", body).Want(t, 201).Text("id") }
	report := func() (out []string) {
		var doc struct {
			Data []struct{ Name, Finding, Detail, Command string }
		}
		apitest.Must(t, json.Unmarshal([]byte(g.Op("GET", "/v1/security/hygiene", "").Want(t, 200).Body), &doc))
		for _, d := range doc.Data {
			out = append(out, d.Name+" "+d.Finding+": "+d.Detail+": "+d.Command)
		}
		return out
	}
	use := func(id string, ago time.Duration) {
		now, _ := g.Config.Clock()
		g.Local.Observe(&local.Observation{At: now.Add(-ago), Method: "GET", Route: "/v1/", Status: 200, Account: "default", Key: store.KeyID(id)})
		apitest.Must(t, g.Local.Flush())
	}
	unused := create(`{"name":"unused","type":"test"}`)
	idle := create(`{"name":"idle","type":"test"}`)
	reads := create(`{"name":"reads","type":"test","scopes":["read","write"]}`)
	dead := create(`{"name":"dead","type":"test","scopes":["read","reports","nothing"],"routes":["/v1/a","/old/"]}`)
	shared := create(`{"name":"it's shared","type":"test","scopes":["read"]}`)
	endless := create(`{"name":"endless","type":"live","scopes":["read"]}`)
	create(`{"name":"tidy","type":"live","scopes":["read"],"expires_at":"` + time.Now().AddDate(1, 0, 0).Format(time.RFC3339) + `"}`)
	if got := report(); len(got) != 2 || !strings.HasPrefix(got[0], "dead opens_nothing") || !strings.HasPrefix(got[1], "endless no_expiry") {
		t.Errorf("new keys: %q", got)
	}
	use(idle, 0)
	g.Now.Add(int64(100 * 24 * time.Hour))
	now, _ := g.Config.Clock()
	for _, id := range []string{reads, dead, shared, endless} {
		use(id, time.Hour)
		g.Profiles[store.KeyID(id)] = insight.Profile{First: now.AddDate(0, 0, -40), Last: now, Did: insight.DidRead, Addresses: 3}
	}
	g.Profiles[store.KeyID(shared)] = insight.Profile{First: now.AddDate(0, 0, -2), Last: now, Did: insight.DidRead, Addresses: 41}
	got := report()
	for _, want := range []string{
		"unused never_used: created 100 days ago and never used: perfgate keys revoke " + unused + " --reason unused",
		"idle idle: last used 100 days ago: perfgate keys revoke " + idle + " --reason unused",
		"reads scopes_unused: used since " + now.AddDate(0, 0, -40).Format(time.DateOnly) + ", and never for write: perfgate keys update " + reads + " --scope read",
		`dead opens_nothing: no route of this node requires the scope "nothing"; no route of this node takes a request that "/old/" covers: perfgate keys update ` + dead + " --scope read,reports --route /v1/a",
		"it's shared shared: used from about 41 addresses in a day: give each client a key of its own: perfgate keys create 'it'\\''s shared (one client)' --type test",
		"endless no_expiry: a live key that never expires: perfgate keys update " + endless + " --expires-in 90d",
		"endless rotation_late: due for rotation since " + now.AddDate(0, 0, -10).Format(time.DateOnly) + ": perfgate keys rotate " + endless,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("without %q:\n%s", want, strings.Join(got, "\n"))
		}
	}
	before := len(got)
	g.Op("POST", "/v1/keys/"+unused+"/revoke", `{"reason":"unused"}`).Want(t, 200)
	g.Op("PATCH", "/v1/keys/"+reads, `{"scopes":["read"]}`).Want(t, 200)
	g.Op("PATCH", "/v1/keys/"+dead, `{"scopes":["read","reports"],"routes":["/v1/a"]}`).Want(t, 200)
	g.Op("PATCH", "/v1/keys/"+endless, `{"expires_at":"`+now.AddDate(0, 0, 90).Format(time.RFC3339)+`"}`).Want(t, 200)
	if after := report(); len(after) != before-5 { // the revoked key was late for rotation, too
		t.Errorf("%d findings, then %d:\n%s", before, len(after), strings.Join(after, "\n"))
	}
}
