package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/proxy"
)

// The description lists exactly the codes that a verdict can have. That it lists every
// one is held by the rig, too, which checks each answer of each test against it.
func TestDescriptionListsEveryVerdict(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/files/"}, proxy.Route{Path: "/posts", Methods: []string{"POST"}}, proxy.Route{Path: "/dear", Cost: "0.5"})
	now, _ := g.Config.Clock()
	create := func(settings string) (id, secret string) {
		a := g.Op("POST", "/v1/keys", `{"name":"n","type":"live"`+settings+`}`).Want(t, 201)
		return a.Text("id"), a.Text("key")
	}
	_, plain := create("")
	_, elsewhere := create(`,"allowlist":["203.0.113.0/24"]`)
	_, reader := create(`,"scopes":["read"]`)
	_, narrow := create(`,"routes":["/posts"]`)
	_, poor := create(`,"max_cost_per_call":0.1`)
	_, spent := create(`,"monthly_budget":0.4`)
	_, minute := create(`,"limits":{"requests_per_minute":1}`)
	_, month := create(`,"limits":{"requests_per_month":1}`)
	_, expired := create(`,"expires_at":"` + now.Add(time.Minute).Format(time.RFC3339Nano) + `"`)
	gone, revoked := create("")
	off, disabled := create("")
	g.Op("POST", "/v1/keys/"+gone+"/revoke", "").Want(t, 200)
	g.Op("PATCH", "/v1/keys/"+off, `{"state":"disabled"}`).Want(t, 200)
	g.Now.Add(int64(2 * time.Minute))
	for _, key := range []string{minute, month} {
		if code := g.verify(t, map[string]any{"key": key}); code != "" {
			t.Fatalf("the first request: %s", code)
		}
	}
	seen := []string{"<nil>"}
	for want, q := range map[fault.Code]map[string]any{
		fault.InvalidRequest:    {"key": plain, "path": "/files/../x"},
		fault.KeyInQuery:        {"key": plain, "path": "/files/a?key=" + plain},
		fault.URITooLong:        {"key": plain, "path": "/files/" + strings.Repeat("x", 60<<10)},
		fault.CostAboveLimit:    {"key": poor, "path": "/dear"},
		fault.MalformedKey:      {"key": "pk_live_x"},
		fault.InvalidKey:        {"key": "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"},
		fault.KeyRevoked:        {"key": revoked},
		fault.KeyExpired:        {"key": expired},
		fault.KeyDisabled:       {"key": disabled},
		fault.BudgetExceeded:    {"key": spent, "path": "/dear"},
		fault.IPNotAllowed:      {"key": elsewhere, "ip": "192.0.2.1"},
		fault.InsufficientScope: {"key": reader, "method": "POST"},
		fault.RouteNotAllowed:   {"key": narrow, "path": "/files/a"},
		fault.NotFound:          {"key": plain, "path": "/nothing"},
		fault.MethodNotAllowed:  {"key": plain, "method": "TRACE"},
		fault.RequestsPerMinute: {"key": minute},
		fault.RequestsPerMonth:  {"key": month},
	} {
		got := g.verify(t, q)
		if got != string(want) {
			t.Errorf("%v: %q, want %q", q, got, want)
		}
		seen = append(seen, got)
	}
	g.Op("PATCH", "/v1/accounts/default", `{"state":"suspended"}`).Want(t, 200)
	if got := g.verify(t, map[string]any{"key": plain}); got != string(fault.AccountSuspended) {
		t.Errorf("a suspended account: %q", got)
	}
	seen = append(seen, string(fault.AccountSuspended))
	var listed []string
	for _, code := range g.Doc.Components.Schemas["Verdict"].Value.Properties["code"].Value.Enum {
		listed = append(listed, fmt.Sprint(code))
	}
	slices.Sort(seen)
	slices.Sort(listed)
	if !slices.Equal(seen, listed) {
		t.Errorf("described are\n%v\nanswered are\n%v", listed, seen)
	}
}

// The description states the bound of preflights, and their refusal is one of its faults.
func TestDescriptionOfPreflights(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/", Preflight: "pass"})
	for passed := 0; ; passed++ {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+g.addr+"/x", nil)
		apitest.Must(t, err)
		r.Header.Set("Origin", "https://a.example")
		r.Header.Set("Access-Control-Request-Method", "PUT")
		res, err := http.DefaultClient.Do(r)
		apitest.Must(t, err)
		raw, err := io.ReadAll(res.Body)
		res.Body.Close()
		apitest.Must(t, err)
		if res.StatusCode == 200 && passed < 10_000 {
			continue
		}
		if res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
			t.Fatalf("after %d preflights: %d %s", passed, res.StatusCode, raw)
		}
		if text := fmt.Sprintf("more than %d a minute", passed); !strings.Contains(g.Doc.Info.Description, text) {
			t.Errorf("%d preflights pass; the description does not say %q", passed, text)
		}
		var doc any
		apitest.Must(t, json.NewDecoder(bytes.NewReader(raw)).Decode(&doc))
		if err := g.Doc.Components.Schemas["Fault"].Value.VisitJSON(doc); err != nil || !strings.Contains(string(raw), `"requests_per_minute"`) {
			t.Errorf("%s: %v", raw, err)
		}
		return
	}
}
