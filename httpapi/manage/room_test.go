package manage_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// full is a state in which the keys of every account take up this much.
type full struct {
	*store.Store
	held store.Held
}

func (f full) Held(store.AccountID) (store.Held, error) { return f.held, nil }

// A key may not let its account hold more keys, or longer settings, than the bounds;
// shorter ones and other changes pass. Operators have no bound.
func TestRoom(t *testing.T) {
	g := apitest.New(t)
	id, secret := g.Key("live", "admin")
	long := `{"name":"k","type":"live","metadata":{"a":"` + strings.Repeat("x", 500) + `"}}`
	line := `{"name":"a","type":"live","key":"sk_live_aaaaaaaaaaaaaaaa"}`
	for _, c := range []struct {
		name string
		held store.Held
		want map[string]bool // by call: it passes
	}{
		{"empty", store.Held{}, map[string]bool{"create": true, "long": true, "rotate": true, "lists": true, "rename": true, "import": true, "revoke": true}},
		{"one key left", store.Held{Keys: store.MaxHeldKeys - 1}, map[string]bool{"create": true, "long": true, "rotate": true, "lists": true, "rename": true, "import": true, "revoke": true}},
		{"no key left", store.Held{Keys: store.MaxHeldKeys}, map[string]bool{"lists": true, "rename": true, "revoke": true}},
		{"some bytes left", store.Held{Bytes: store.MaxHeldBytes - 400}, map[string]bool{"create": true, "rotate": true, "lists": true, "rename": true, "import": true, "revoke": true}},
		{"no byte left", store.Held{Bytes: store.MaxHeldBytes}, map[string]bool{"rename": true, "revoke": true}},
	} {
		h := manage.Keys{Store: full{g.Store, c.held}, Uses: g.Observed()}
		for call, serve := range map[string]struct {
			handler rest.Handler
			body    string
		}{
			"create": {rest.WithBody(h.Create), `{"name":"k","type":"live"}`},
			"long":   {rest.WithBody(h.Create), long},
			"rotate": {rest.WithOptionalBody(h.Rotate), ``},
			"lists":  {rest.WithBody(h.Update), `{"metadata":{"a":"b"}}`},
			"rename": {rest.WithBody(h.Update), `{"name":"b","state":"active"}`},
			"import": {rest.WithRawBody(h.Import), line},
			"revoke": {rest.WithOptionalBody(h.Revoke), ``},
		} {
			for _, token := range []string{secret, apitest.OperatorToken} {
				target := id
				if call == "rotate" || call == "revoke" {
					target, _ = g.Key("live", "read")
				}
				r := httptest.NewRequest("POST", "/v1/x/"+target, strings.NewReader(serve.body))
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				g.Frame().Serve(w, r, &rest.Route{ID: "x", Method: "POST", Path: "/v1/x/{id}", Scope: store.ScopeAdmin, Serve: serve.handler}, target, true)
				want := c.want[call] || token == apitest.OperatorToken
				refused := strings.Contains(w.Body.String(), string(fault.LimitReached))
				if refused == want || want && w.Code >= 300 || !want && w.Code != 422 {
					t.Errorf("%s, %s, operator %v: %d %s", c.name, call, token != secret, w.Code, w.Body)
				}
			}
		}
	}
}
