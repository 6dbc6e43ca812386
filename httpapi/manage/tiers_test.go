package manage_test

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestTiers(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("POST", "/v1/tiers", `{"name":"team","live":{"requests_per_minute":10,"requests_per_month":1000},"test":{},"features":{"ip_allowlist":true}}`).Want(t, 201)
	if a.Body != `{"name":"team","live":{"requests_per_minute":10,"burst":null,"requests_per_month":1000,"max_concurrent":null},"test":{"requests_per_minute":5,"burst":null,"requests_per_month":1000,"max_concurrent":null},"features":{"ip_allowlist":true},"limit_rules":[]}`+"\n" {
		t.Errorf("%s", a.Body)
	}
	b := g.Op("PATCH", "/v1/tiers/team", `{"test":{"requests_per_minute":7}}`).Want(t, 200)
	if !strings.Contains(b.Body, `"live":{"requests_per_minute":10,`) || !strings.Contains(b.Body, `"test":{"requests_per_minute":7,`) || !strings.Contains(b.Body, `"ip_allowlist":true`) || b.JSON["revocation"] == nil {
		t.Errorf("%s", b.Body)
	}
	list := g.Op("GET", "/v1/tiers?limit=3", "").Want(t, 200)
	second := g.Op("GET", "/v1/tiers?limit=3&cursor="+list.Text("next_cursor"), "").Want(t, 200)
	if len(list.JSON["data"].([]any)) != 3 || len(second.JSON["data"].([]any)) != 1 || second.JSON["next_cursor"] != nil {
		t.Errorf("%s%s", list.Body, second.Body)
	}
	for body, name := range map[string]string{
		`{"name":"Team","live":{},"test":{}}`: "name", `{"name":"x","live":{}}`: "test", `{"name":"x","live":{"requests_per_minute":0},"test":{}}`: "live.requests_per_minute",
		`{"name":"x","live":{},"test":{},"features":{"sso":true}}`: "features.sso", `{"live":{},"test":{}}`: "name", `{"name":"x","live":null,"test":{}}`: "live",
	} {
		if a := g.Op("POST", "/v1/tiers", body).Want(t, 422); !strings.Contains(a.Message(), name) {
			t.Errorf("%s: %s", body, a.Message())
		}
	}
	g.Op("POST", "/v1/tiers", `{"name":"team","live":{},"test":{}}`).Want(t, 409, fault.Conflict)
	acct := g.Op("POST", "/v1/accounts", `{"name":"n","tier":"team"}`).Want(t, 201).Text("id")
	g.Op("DELETE", "/v1/tiers/team", "").Want(t, 409, fault.Conflict)
	g.Op("DELETE", "/v1/accounts/"+acct, "").Want(t, 200)
	g.Op("DELETE", "/v1/tiers/team", "").Want(t, 200)
	g.Op("GET", "/v1/tiers/team", "").Want(t, 404)
	g.Op("DELETE", "/v1/tiers/pro", "").Want(t, 409)
	g.Op("PATCH", "/v1/tiers/none", `{}`).Want(t, 404)
}

// Without a match, a change of a tier is computed again after another one.
func TestTierChangesMerge(t *testing.T) {
	g := apitest.New(t)
	g.Op("POST", "/v1/tiers", `{"name":"team","live":{"requests_per_minute":10},"test":{}}`).Want(t, 201)
	tag := g.Op("GET", "/v1/tiers/team", "").Header.Get("ETag")
	g.Op("PATCH", "/v1/tiers/team", `{"features":{"ip_allowlist":true}}`).Want(t, 200)
	g.Op("PATCH", "/v1/tiers/team", `{"live":{"requests_per_minute":20}}`, "If-Match", tag).Want(t, 412, fault.PreconditionFailed)
	a := g.Op("PATCH", "/v1/tiers/team", `{"live":{"requests_per_minute":20}}`).Want(t, 200)
	if !strings.Contains(a.Body, `"ip_allowlist":true`) || !strings.Contains(a.Body, `"requests_per_minute":20,`) {
		t.Errorf("%s", a.Body)
	}
	for body, bad := range map[string]string{`{"live":null}`: "live", `{"test":null}`: "test", `{"features":null}`: "features", `{"features":{"ip_allowlist":null}}`: "features", `{"live":{"burst":0}}`: "live.burst", `{"name":"x"}`: "name"} {
		if a := g.Op("PATCH", "/v1/tiers/team", body).Want(t, 422); !strings.Contains(a.Message(), bad) {
			t.Errorf("%s: %s", body, a.Message())
		}
	}
}
