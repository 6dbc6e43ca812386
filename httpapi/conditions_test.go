package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// No change ignores If-Match: with a tag that nothing has, each one is refused, with 412 where one resource with an ETag changes, else with 400.
func TestNoChangeIgnoresIfMatch(t *testing.T) {
	g := apitest.New(t)
	key, _ := g.Key("live", "read")
	acct := g.Op("POST", "/v1/accounts", `{"name":"a"}`).Want(t, 201).Text("id")
	hook := g.Op("POST", "/v1/webhooks", `{"url":"https://example.com/"}`).Want(t, 201).Text("id")
	user, _ := g.Setup("ada@example.com", "owner", "")
	incident := g.Op("POST", "/v1/incidents", `{"title":"t","action":"none"}`).Want(t, 201).Text("id")
	token := g.Op("POST", "/v1/operator-tokens", `{"name":"ci"}`).Want(t, 201).Text("id")
	ids := map[string]string{"key_": key, "acct_": acct, "whk_": hook, "usr_": user, "inc_": incident, "op_": token, "ses_": "ses_1"}
	ids["ers_"] = g.Op("DELETE", "/v1/account/data", `{"confirm":"default"}`).Want(t, 202).Text("id")
	tag := g.Op("GET", "/v1/account/erasures/"+ids["ers_"], "").Want(t, 200).Header.Get("ETag")
	defer func() { // the tag that it has
		g.Op("POST", "/v1/account/erasures/"+ids["ers_"]+"/cancel", "", "If-Match", tag).Want(t, 200)
	}()
	g.Op("POST", "/v1/tiers", `{"name":"team","live":{},"test":{},"features":{}}`).Want(t, 201)
	g.Op("PUT", "/v1/allowlist?confirm_within=5m", `{"entries":[]}`).Want(t, 200)
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	apitest.Must(t, err)
	bodies := map[string]string{
		"updateKey": `{"name":"b"}`, "updateAccount": `{"name":"b"}`, "updateManagedAccount": `{"name":"b"}`, "updateTier": `{"live":{}}`, "setAllowlist": `{"entries":[]}`,
		"updateWebhook": `{"enabled":false}`, "updateUser": `{"name":"b"}`, "redeliverSince": `{"since":"2026-01-01T00:00:00Z"}`,
	}
	seen := 0
	for _, rt := range g.API.Routes() {
		if rt.Method == http.MethodGet || rt.Access&rest.Open != 0 || rt.Access&rest.Quiet != 0 {
			continue
		}
		seen++
		path := strings.NewReplacer("{id}", ids[rt.IDs], "{name}", "team", "{did}", "dlv_00000000001").Replace(rt.Path)
		a := g.Op(rt.Method, path+map[bool]string{true: "?force=true"}[len(rt.Query) == 1 && rt.Query[0] == "force"], bodies[rt.ID], "If-Match", `"99999"`)
		described := doc.Paths.Value(rt.Path).GetOperation(rt.Method).Parameters.GetByInAndName("header", "If-Match") != nil
		if described != rt.Tagged {
			t.Errorf("%s: openapi.yaml describes If-Match: %v, the route takes it: %v", rt.ID, described, rt.Tagged)
		}
		switch {
		case rt.ID == "redeliver" && a.Status == 404: // there is no such delivery
		case rt.Tagged && (a.Status != 412 || a.Code() != string(fault.PreconditionFailed)):
			t.Errorf("%s: %d %s", rt.ID, a.Status, a.Body)
		case !rt.Tagged && (a.Status != 400 || !strings.Contains(a.Message(), "If-Match")):
			t.Errorf("%s ignores If-Match: %d %s", rt.ID, a.Status, a.Body)
		}
	}
	if seen < 40 {
		t.Errorf("only %d changes were seen", seen)
	}
}
