package manage_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// One key's usage has its volumes, its failures by cause, its countries and its last use,
// and nothing of another key's or account's.
func TestUsageOfKey(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	other, secret := g.Key("live", "read")
	now, _ := g.Config.Clock()
	observe := func(key string, age time.Duration, change func(*local.Observation)) {
		o := &local.Observation{At: now.Add(-age), Method: "GET", Route: "/a", Status: 200, Account: "default", Key: store.KeyID(key), Type: store.Live, Units: 2, Client: netip.MustParseAddr("203.0.113.7")}
		change(o)
		g.Local.Observe(o)
	}
	observe(id, 2*time.Hour, func(o *local.Observation) { o.Country = "DE" })
	observe(id, 3*time.Hour, func(o *local.Observation) { o.Country = "BR" })
	observe(id, 4*time.Hour, func(o *local.Observation) { o.Country = "DE" })
	observe(id, 4*time.Hour, func(o *local.Observation) { o.Code, o.Status, o.Units = "insufficient_scope", 403, 0 })
	observe(id, 4*time.Hour, func(o *local.Observation) { o.Failure, o.Status = "upstream_timeout", 504 })
	observe(id, 31*24*time.Hour, func(*local.Observation) {})
	observe(other, time.Hour, func(o *local.Observation) { o.Country = "JP" })
	apitest.Must(t, g.Local.Flush())
	g.Profiles = map[store.KeyID]insight.Profile{store.KeyID(id): {Recent: []insight.User{
		{IP: netip.MustParseAddr("203.0.113.7"), Country: "DE", Agent: "curl", At: now.Add(-time.Minute)}, {IP: netip.MustParseAddr("2001:db8::1"), At: now.Add(-2 * time.Hour)},
	}}}
	a := g.Op("GET", "/v1/usage/keys/"+id, "").Want(t, 200)
	for _, want := range []string{
		`"requests":5,"denied":1,"failed":1,"units":8,"cost":0,"billable":6`,
		`"failures":[{"reason":"insufficient_scope","requests":1},{"reason":"upstream_timeout","requests":1}]`,
		`"statuses":[{"status":"200","requests":3},{"status":"403","requests":1},{"status":"504","requests":1}]`,
		`{"country":"DE","requests":2}`, `{"country":"BR","requests":1}`, `{"country":null,"requests":2}`,
		`"failing_addresses":[{"ip":"203.0.113.7","country":null,"requests":2}]`,
		`"ip":"203.0.113.7","country":"DE"}`, `"missing":[]`,
	} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("without %s: %s", want, a.Body)
		}
	}
	if a := g.Op("GET", "/v1/usage/keys/"+id+"?from="+now.Add(-3*time.Hour).Truncate(time.Hour).Format(time.RFC3339), "").Want(t, 200); !strings.Contains(a.Body, `"requests":2,"denied":0`) {
		t.Errorf("since less than four hours: %s", a.Body)
	}
	if addresses := a.JSON["used_from"].([]any); len(addresses) != 2 || fmt.Sprint(addresses[0].(map[string]any)["user_agent"], addresses[1].(map[string]any)["user_agent"]) != "curl<nil>" {
		t.Errorf("it was used from %v", addresses)
	}
	hour := g.Op("GET", "/v1/usage/keys/"+id+"?from="+now.Add(-time.Hour).Format(time.RFC3339), "").Want(t, 200)
	if addresses := hour.JSON["used_from"].([]any); len(addresses) != 1 {
		t.Errorf("in the last hour it was used from %v", addresses)
	}
	// A key reads usage with the scope read, and another account's key does not exist for it.
	g.Do(g.Proxy.URL, "GET", "/v1/usage/keys/"+id, secret, "").Want(t, 200)
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	g.Op("GET", "/v1/usage/keys/"+id, "", rest.AccountHeader, acct).Want(t, 404, fault.NotFound)
	g.Op("GET", "/v1/usage/keys/"+id+"?from=x", "").Want(t, 422, fault.InvalidValue)
	unused, _ := g.Key("test", "read")
	if a := g.Op("GET", "/v1/usage/keys/"+unused, "").Want(t, 200); !strings.Contains(a.Body, `"last_use":null`) || !strings.Contains(a.Body, `"failures":[]`) {
		t.Errorf("a key without use: %s", a.Body)
	}
}
