package manage_test

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

// Every text that people choose is refused if a part of it cannot be seen.
func TestTextsThatLookAlike(t *testing.T) {
	g := apitest.New(t)
	made := g.Op("POST", "/v1/keys", `{"name":"a","type":"live"}`).Want(t, 201)
	key := "/v1/keys/" + made.Text("id")
	for _, c := range []struct{ method, path, body, param string }{
		{"POST", "/v1/keys", `{"name":"TEXT","type":"live"}`, "name"},
		{"POST", "/v1/keys", `{"name":"a","type":"live","environment":"TEXT"}`, "environment"},
		{"POST", "/v1/keys", `{"name":"a","type":"live","metadata":{"TEXT":"a"}}`, "metadata"},
		{"POST", "/v1/keys", `{"name":"a","type":"live","metadata":{"a":"TEXT"}}`, "metadata"},
		{"PATCH", key, `{"name":"TEXT"}`, "name"},
		{"POST", key + "/revoke", `{"reason":"TEXT"}`, "reason"},
		{"POST", "/v1/accounts", `{"name":"TEXT"}`, "name"},
		{"PATCH", "/v1/accounts/default", `{"name":"TEXT"}`, "name"},
		{"PATCH", "/v1/accounts/default", `{"region":"TEXT"}`, "region"},
		{"POST", "/v1/keys", `{"name":"a","type":"live","routes":["/v1/TEXT"]}`, "routes.0"},
		{"POST", "/v1/keys", `{"name":"a","type":"live","scopes":["TEXT"]}`, "scopes.0"},
		{"PATCH", key, `{"routes":["/v1/TEXT"]}`, "routes.0"},
		{"POST", "/v1/keys/revoke", `{"ids":["key_1"],"reason":"TEXT"}`, "reason"},
		{"POST", "/v1/tiers", `{"name":"TEXT","live":{},"test":{}}`, "name"},
		{"PUT", "/v1/allowlist", `{"entries":[{"cidr":"192.0.2.0/24","note":"TEXT"}]}`, "entries.0"},
	} {
		for _, hidden := range []string{"\u200b", "\ufeff", "\u202e", "\u2066", "\u200d", "\u2060"} {
			body := strings.ReplaceAll(c.body, "TEXT", "ad"+hidden+"min")
			a := g.Op(c.method, c.path, body).Want(t, 422)
			if !strings.Contains(a.Body, c.param) {
				t.Errorf("%s %s %+q: %s", c.method, c.path, body, a.Body)
			}
		}
	}
}
