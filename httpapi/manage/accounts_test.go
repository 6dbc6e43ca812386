package manage_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

func TestAccounts(t *testing.T) {
	g := apitest.New(t)
	c := g.Client()
	ctx := context.Background()
	perMinute, perMonth := int64(6000), int64(5_000_000)
	a, err := c.Accounts().Create(ctx, client.NewAccount{Name: "Acme", Tier: "enterprise", Limits: &client.Limits{PerMinute: &perMinute, PerMonth: &perMonth}})
	apitest.Must(t, err)
	if !strings.HasPrefix(a.ID, "acct_") || a.RetentionDays != 30 || a.BrowserKeys != "alert" || *a.Limits.PerMonth != perMonth || a.Limits.Burst != nil || a.CreatedAt.IsZero() {
		t.Errorf("%+v", a)
	}
	b, err := c.Accounts().Update(ctx, a.ID, client.Patch{"name": "Acme 2", "tier": "pro", "limits": nil, "region": "eu", "retention_days": 90, "alert_thresholds": []int{90, 50, 90}, "browser_keys": "block"})
	apitest.Must(t, err)
	if b.Name != "Acme 2" || b.Tier != "pro" || b.Limits != nil || *b.Region != "eu" || b.RetentionDays != 90 || !slices.Equal(b.Alerts, []int{50, 90}) || b.Revocation == nil {
		t.Errorf("%+v", b)
	}
	var names []string
	for a, err := range c.Accounts().All(ctx) {
		apitest.Must(t, err)
		names = append(names, a.ID)
	}
	if !slices.Equal(names, []string{a.ID, "default"}) {
		t.Errorf("%v", names)
	}
	for body, name := range map[string]string{
		`{"tier":"none"}`: "tier", `{"tier":null}`: "tier", `{"retention_days":6}`: "retention_days", `{"retention_days":91}`: "retention_days", `{"retention_days":null}`: "retention_days",
		`{"browser_keys":"ask"}`: "browser_keys", `{"alert_thresholds":[0]}`: "alert_thresholds", `{"limits":{"burst":0}}`: "limits.burst", `{"name":""}`: "name", `{"id":"x"}`: "id",
	} {
		if a := g.Op("PATCH", "/v1/accounts/"+a.ID, body).Want(t, 422); !strings.Contains(a.Message(), name) {
			t.Errorf("%s: %s", body, a.Message())
		}
	}
}

// newAccount makes an account with an admin key and returns their ids and the
// key's secret.
func newAccount(g *apitest.Rig) (id, keyID, secret string) {
	g.T.Helper()
	id = g.Op("POST", "/v1/accounts", `{"name":"Acme","retention_days":90}`).Want(g.T, 201).Text("id")
	k := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["admin"]}`, rest.AccountHeader, id).Want(g.T, 201)
	if k.Text("account") != id {
		g.T.Errorf("the key is %s's", k.Text("account"))
	}
	return id, k.Text("id"), k.Text("key")
}

// An account sees its own things alone.
func TestAccountsAreApart(t *testing.T) {
	g := apitest.New(t)
	id, keyID, secret := newAccount(g)
	g.Op("GET", "/v1/keys/"+keyID, "").Want(t, 404)
	g.Op("PATCH", "/v1/keys/"+keyID, `{"name":"x"}`).Want(t, 404)
	g.Op("POST", "/v1/keys/"+keyID+"/revoke", "").Want(t, 404)
	g.Op("GET", "/v1/keys/"+keyID, "", rest.AccountHeader, id).Want(t, 200)
	g.Op("GET", "/v1/keys", "", rest.AccountHeader, "acct_none").Want(t, 404, fault.NotFound)
	own := g.Do(g.Admin.URL, "GET", "/v1/account", secret, "").Want(t, 200)
	if own.Text("id") != id {
		t.Errorf("%s", own.Body)
	}
	g.Do(g.Admin.URL, "GET", "/v1/account", secret, "", rest.AccountHeader, id).Want(t, 200)
	g.Do(g.Admin.URL, "GET", "/v1/account", secret, "", rest.AccountHeader, "default").Want(t, 403, fault.Forbidden)
}

// Of its own settings an account changes some: retention only shorter, and on the
// admin listener.
func TestOwnAccount(t *testing.T) {
	g := apitest.New(t)
	_, _, secret := newAccount(g)
	set := func(base, body string) apitest.Answer { return g.Do(base, "PATCH", "/v1/account", secret, body) }
	set(g.Proxy.URL, `{"retention_days":20}`).Want(t, 403, fault.Forbidden)
	set(g.Proxy.URL, `{"name":"Mine","alert_thresholds":null}`).Want(t, 200)
	set(g.Admin.URL, `{"retention_days":20}`).Want(t, 200)
	set(g.Admin.URL, `{"retention_days":21}`).Want(t, 422, fault.InvalidValue)
	set(g.Admin.URL, `{"tier":"enterprise"}`).Want(t, 422, fault.UnknownField)
	set(g.Admin.URL, `{"limits":null}`).Want(t, 422, fault.UnknownField)
}

// A deletion ends the keys at once; the audit log of the account stays readable.
func TestDeleteAccount(t *testing.T) {
	g := apitest.New(t)
	id, _, secret := newAccount(g)
	d, err := g.Client().Accounts().Delete(context.Background(), id)
	apitest.Must(t, err)
	if !d.Deleted || d.ID != id || !d.Revocation.Effective {
		t.Errorf("%+v", d)
	}
	g.Do(g.Admin.URL, "GET", "/v1/account", secret, "").Want(t, 401, fault.InvalidKey)
	g.Op("GET", "/v1/accounts/"+id, "").Want(t, 404)
	g.Op("GET", "/v1/keys", "", rest.AccountHeader, id).Want(t, 404)
	if log := g.Op("GET", "/v1/audit-logs?action=account.delete", "", rest.AccountHeader, id).Want(t, 200); !strings.Contains(log.Body, id) {
		t.Errorf("the deletion left no trace: %s", log.Body)
	}
	g.Op("GET", "/v1/audit-logs", "", rest.AccountHeader, "acct_none").Want(t, 404)
	g.Op("DELETE", "/v1/accounts/default", "").Want(t, 409, fault.Conflict)
	g.Op("DELETE", "/v1/accounts/acct_none", "").Want(t, 404)
}

// The bounds of accounts hold on both sides.
func TestAccountBounds(t *testing.T) {
	g := apitest.New(t)
	thresholds := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat("50,", n), ",") + "]"
	}
	for body, bad := range map[string]string{
		`{"name":"n","retention_days":7}`:                                         "",
		`{"name":"n","retention_days":90}`:                                        "",
		`{"name":"n","retention_days":6}`:                                         "retention_days",
		`{"name":"n","retention_days":91}`:                                        "retention_days",
		`{"name":"n","alert_thresholds":` + thresholds(store.MaxAlerts) + `}`:     "",
		`{"name":"n","alert_thresholds":` + thresholds(store.MaxAlerts+1) + `}`:   "alert_thresholds",
		`{"name":"n","alert_thresholds":[1,100]}`:                                 "",
		`{"name":"n","alert_thresholds":[101]}`:                                   "alert_thresholds",
		`{"name":"n","region":"` + strings.Repeat("r", manage.MaxRegion+1) + `"}`: "region",
		`{"name":"` + strings.Repeat("n", manage.MaxName+1) + `"}`:                "name",
		`{"name":"n","browser_keys":"block"}`:                                     "",
		`{"name":"n","browser_keys":""}`:                                          "browser_keys",
		`{"name":"n","tier":"none"}`:                                              "tier",
		`{"name":"n","tier":"Not A Tier"}`:                                        "tier",
		`{}`:                                                                      "name",
	} {
		a := g.Op("POST", "/v1/accounts", body)
		if bad == "" && a.Status != 201 || bad != "" && (a.Status != 422 || !strings.Contains(a.Message(), bad)) {
			t.Errorf("%.80s: %d %s", body, a.Status, a.Message())
		}
	}
	// Thresholds are a set.
	a := g.Op("POST", "/v1/accounts", `{"name":"n","alert_thresholds":[90,50,90]}`).Want(t, 201)
	if !strings.Contains(a.Body, `"alert_thresholds":[50,90]`) {
		t.Errorf("%s", a.Body)
	}
}

// A cluster with a region takes its own accounts alone and says where the others belong.
func TestAccountsOfOtherRegions(t *testing.T) {
	g := apitest.New(t, func(c *httpapi.Config) {
		c.Residency = manage.Residency{Region: "eu-west", Bases: map[string]string{"us-east": "https://us.example.com"}}
	})
	g.Op("POST", "/v1/accounts", `{"name":"here","region":"eu-west"}`).Want(t, 201)
	a := g.Op("POST", "/v1/accounts", `{"name":"anywhere"}`).Want(t, 201)
	if a.Text("region") != "eu-west" {
		t.Errorf("a new account is in region %q", a.Text("region"))
	}
	id := a.Text("id")
	refused := func(method, path, body, why string) {
		t.Helper()
		a := g.Op(method, path, body).Want(t, 422)
		if a.Code() != "wrong_region" || !strings.Contains(a.Body, `"param":"/region"`) || !strings.Contains(a.Message(), why) {
			t.Errorf("%s %s: %s", method, body, a.Body)
		}
	}
	refused("POST", "/v1/accounts", `{"name":"there","region":"us-east"}`, "use the management API at https://us.example.com")
	refused("POST", "/v1/accounts", `{"name":"there","region":"ap-south"}`, "[regions] names no base URL for it")
	refused("PATCH", "/v1/accounts/"+id, `{"region":"us-east"}`, "https://us.example.com")
	if a := g.Op("GET", "/v1/accounts/"+id, "").Want(t, 200); a.Text("region") != "eu-west" {
		t.Errorf("a refused move changed the region to %q", a.Text("region"))
	}
	g.Op("PATCH", "/v1/accounts/"+id, `{"region":null}`).Want(t, 200)
}

// Several faults are listed together, those that only the state shows among them.
func TestFaultsOfTheStateAreListed(t *testing.T) {
	g := apitest.New(t)
	for _, c := range []struct{ method, path, body, want string }{
		{"PATCH", "/v1/accounts/default", `{"tier":"nope","browser_keys":"x"}`, "/browser_keys /tier"},
		{"PATCH", "/v1/accounts/default", `{"tier":"nope","state":"x","limits":{"x":1}}`, "/limits/x /state /tier"},
		{"POST", "/v1/accounts", `{"tier":"nope"}`, "/name /tier"},
		{"POST", "/v1/users", `{"email":"q@b.c","role":"owner","account":"acct_x"}`, "/account"},
		{"POST", "/v1/users", `{"email":"q","role":"owner","account":"acct_x"}`, "/account /email"},
		{"POST", "/v1/session-links", `{"account":"acct_x","ttl":"soon"}`, "/account /ttl"},
		{"POST", "/v1/webhooks", `{"url":"https://169.254.169.254/x","events":["no.such"]}`, "/events /url"},
	} {
		a := g.Op(c.method, c.path, c.body).Want(t, 422)
		var d struct{ Error fault.Body }
		apitest.Must(t, json.Unmarshal([]byte(a.Body), &d))
		var got []string
		for _, e := range d.Error.Errors {
			got = append(got, e.Param)
		}
		if len(got) == 0 {
			got = []string{d.Error.Param}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s %s: %s, want %s: %s", c.path, c.body, s, c.want, a.Body)
		}
	}
	// A repeat gets its stored result, whatever is gone meanwhile.
	g.Op("POST", "/v1/tiers", `{"name":"gone","live":{},"test":{}}`).Want(t, 201)
	g.Op("POST", "/v1/accounts", `{"name":"n","tier":"gone"}`, "Idempotency-Key", "one").Want(t, 201)
}

// Limits that set nothing are none.
func TestEmptyLimits(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	for _, path := range []string{"/v1/accounts/default", "/v1/keys/" + id} {
		if a := g.Op("PATCH", path, `{"limits":{"requests_per_minute":null}}`).Want(t, 200); !strings.Contains(a.Body, `"limits":null`) {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
}
