package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// sample is a body and a path that fit a call, for tests over all of them.
func sample(rt *rest.Route, id string) (path, body string) {
	path = strings.NewReplacer("{id}", id, "{name}", "pro").Replace(rt.Path)
	if rt.IDs == "inc_" || rt.IDs == "ers_" {
		path = strings.Replace(rt.Path, "{id}", rt.IDs+"1", 1)
	}
	if rt.IDs == "whk_" {
		path = strings.NewReplacer("{id}", "whk_1", "{did}", "dlv_1").Replace(rt.Path)
	}
	if strings.HasPrefix(rt.Path, "/v1/users/") {
		path = strings.Replace(rt.Path, "{id}", "usr_none", 1)
	}
	if strings.HasPrefix(rt.Path, "/v1/accounts/") {
		path = "/v1/accounts/default"
	}
	if rt.ID == "removeNode" {
		path = "/v1/cluster/nodes/n2"
	}
	switch rt.ID {
	case "createKey":
		body = `{"name":"n","type":"test"}`
	case "revokeKeys":
		body = `{"created_by":"nobody"}`
	case "importKeys":
		body = `{"name":"n","type":"test","key":"an-imported-key-0123456789"}`
	case "verifyKey":
		body = `{"key":"pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"}`
	case "rateLimit":
		body = `{"identifier":"u1","limit":5,"window":"60s"}`
	case "setAllowlist":
		body = `{"entries":[]}`
	case "createManagedAccount":
		body = `{"name":"n"}`
	case "simulateLimits":
		body = `{"requests_per_minute":5}`
	case "signIn":
		body = `{"token":"pgop_wrong"}`
	case "createUser":
		body = `{"email":"` + strings.ToLower(id) + `@example.com","role":"viewer"}`
	case "setPassword":
		body = `{"password":"correct horse"}`
	case "setSecondFactor", "removeSecondFactor":
		body = `{"password":"x","secret":"","code":""}`
		if rt.ID == "removeSecondFactor" {
			body = `{"password":"x"}`
		}
	case "endSession":
		path = "/v1/sessions/ses_0"
	case "createOperatorToken":
		body = `{"name":"n"}`
	case "deleteOperatorToken":
		path = "/v1/operator-tokens/op_none"
	case "createWebhook":
		body = `{"url":"https://example.com/hook"}`
	case "eraseAccountData":
		body = `{"confirm":"default"}`
	case "openIncident":
		body = `{"title":"t","action":"none"}`
	case "redeliverSince":
		body = `{"since":"2020-01-01T00:00:00Z"}`
	case "createTier":
		body = `{"name":"n","live":{},"test":{}}`
	}
	if body == "" && rt.Method != http.MethodGet {
		body = "{}"
	}
	return path, body
}

// callers are credentials of each kind.
type callers struct {
	none   string                 // a key without a scope of ours
	scoped map[store.Scope]string // keys with one scope
}

func newCallers(g *apitest.Rig) callers {
	var c callers
	_, c.none = g.Key("live", "custom")
	_, admin := g.Key("live", "admin")
	c.scoped = map[store.Scope]string{store.ScopeAdmin: admin, 0: c.none}
	for s, name := range map[store.Scope]string{store.ScopeRead: "read", store.ScopeVerify: "verify", store.ScopeLimit: "limit"} {
		_, c.scoped[s] = g.Key("test", name)
	}
	return c
}

// call is one route of the table, tried from one address: failures are counted by it.
type call struct {
	g   *apitest.Rig
	rt  *rest.Route
	hop string
}

// try makes the call with a credential on the admin listener, or on the proxy listener
// at url, for a key that may be spent.
func (c *call) try(url, token string) apitest.Answer {
	id, _ := c.g.Key("test", "read")
	path, body := sample(c.rt, id)
	if strings.HasPrefix(path, "/v1/webhooks") {
		path = webhookPath(c.g, c.rt)
	}
	if c.rt.IDs == "inc_" {
		path = strings.Replace(c.rt.Path, "{id}", incident(c.g), 1)
	}
	if c.rt.ID == "eraseAccountData" {
		cancelErasures(c.g)
	}
	if c.rt.IDs == "ers_" {
		path = strings.Replace(c.rt.Path, "{id}", erasure(c.g), 1)
	}
	return c.g.Do(url, c.rt.Method, path, token, body, "X-Forwarded-For", c.hop)
}

// cancelErasures cancels the erasures that are scheduled.
func cancelErasures(g *apitest.Rig) {
	open, err := g.Store.Erasures().Open()
	apitest.Must(g.T, err)
	for _, e := range open {
		_, err := g.Backend.Apply(&store.Command{At: time.Now(), Account: e.Account, Change: &store.ErasureCancel{ID: e.ID}})
		apitest.Must(g.T, err)
	}
}

// erasure schedules an erasure and returns its id.
func erasure(g *apitest.Rig) string {
	cancelErasures(g)
	return g.Op("DELETE", "/v1/account/data", `{"confirm":"default"}`).Want(g.T, 202).Text("id")
}

// incident opens an incident and returns its id.
func incident(g *apitest.Rig) string {
	_, err := g.Backend.Apply(&store.Command{At: time.Now(), Account: store.DefaultAccount, Change: &store.AuditKey{Seed: make([]byte, 32), First: true}})
	apitest.Must(g.T, err)
	return g.Op("POST", "/v1/incidents", `{"title":"t","action":"none"}`).Want(g.T, 201).Text("id")
}

// webhookPath is a path of a call about webhooks that can succeed.
func webhookPath(g *apitest.Rig, rt *rest.Route) string {
	for len(g.Store.Webhooks(store.DefaultAccount)) >= store.MaxWebhooks-1 {
		g.Op("DELETE", "/v1/webhooks/"+string(g.Store.Webhooks(store.DefaultAccount)[0].ID), "").Want(g.T, 200)
	}
	id := g.Op("POST", "/v1/webhooks", `{"url":"https://example.com/","events":["webhook.test"]}`).Want(g.T, 201).Text("id")
	did := g.Op("POST", "/v1/webhooks/"+id+"/test", "").Want(g.T, 200).Text("id")
	place, _ := store.PlaceOf(did)
	_, err := g.Backend.Apply(&store.Command{At: time.Now(), Change: &store.DeliveriesDone{Results: []store.DeliveryResult{{
		Account: store.DefaultAccount, Webhook: store.WebhookID(id), Place: place, State: store.Delivered,
	}}}})
	apitest.Must(g.T, err)
	return strings.NewReplacer("{id}", id, "{did}", did).Replace(rt.Path)
}

func (c *call) admin(token string) apitest.Answer { return c.try(c.g.Admin.URL, token) }

// refuses tries credentials that no call takes.
func (c *call) refuses(t *testing.T, none string) {
	a := c.admin("").Want(t, 401, fault.MissingKey)
	if c := a.Header.Get("WWW-Authenticate"); c != `Bearer realm="perf"` {
		t.Errorf("challenge %q", c)
	}
	c.admin("pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ").Want(t, 401, fault.InvalidKey)
	c.admin("pgop_wrong").Want(t, 401)
	if c.rt.Access&rest.AnyScope != 0 {
		c.admin(none).Want(t, 200)
		return
	}
	a = c.admin(none).Want(t, 403, fault.InsufficientScope)
	if c := a.Header.Get("WWW-Authenticate"); !strings.Contains(c, `error="insufficient_scope"`) {
		t.Errorf("challenge %q", c)
	}
}

// takes tries the right credentials.
func (c *call) takes(t *testing.T, scoped map[store.Scope]string) {
	if c.rt.Access&(rest.Operators|rest.NoKeys) != 0 {
		c.admin(scoped[store.ScopeAdmin]).Want(t, 403, fault.Forbidden)
	} else {
		for _, token := range []string{scoped[c.rt.Scope], scoped[store.ScopeAdmin]} {
			a := c.admin(token)
			idle := a.Code() == string(fault.Conflict) && (c.rt.ID == "confirmAllowlist" || c.rt.ID == "revertAllowlist") // no list is on trial
			if a.Status >= 300 && !idle {
				t.Errorf("a key with the scope: %d %s", a.Status, a.Body)
			}
		}
	}
	switch c.rt.ID {
	case "signOut":
		c.admin(apitest.OperatorToken).Want(t, 401, fault.InvalidSession)
	case "setPassword", "newSecondFactor", "setSecondFactor", "removeSecondFactor":
		c.admin(apitest.OperatorToken).Want(t, 403, fault.Forbidden)
	case "endSession", "getUser", "updateUser", "deleteUser", "disableUser", "resetUser":
		c.admin(apitest.OperatorToken).Want(t, 404, fault.NotFound)
	case "deleteManagedAccount", "deleteTier":
		c.admin(apitest.OperatorToken).Want(t, 409, fault.Conflict) // built in
	case "deleteOperatorToken":
		c.admin(apitest.OperatorToken).Want(t, 404, fault.NotFound)
	case "createTier":
		c.admin(apitest.OperatorToken).Want(t, 201)
	default:
		if a := c.admin(apitest.OperatorToken); a.Status >= 300 && a.Status != 409 {
			t.Errorf("an operator: %d %s", a.Status, a.Body)
		}
	}
}

// proxied tries the call on the proxy listener, which takes it or hands it on.
func (c *call) proxied(t *testing.T, token string) {
	before := c.g.Next.Load()
	c.try(c.g.Proxy.URL, token)
	if taken := c.g.Next.Load() == before; taken != (c.rt.Access&rest.OnProxy != 0) {
		t.Errorf("taken from the proxy listener: %v", taken)
	}
	if c.rt.Access&rest.OnProxy != 0 {
		c.try(c.g.Proxy.URL, apitest.OperatorToken).Want(t, 401)
		c.try(c.g.Proxy.URL, "").Want(t, 401, fault.MissingKey)
	}
}

// Every call × no credential, wrong scope, right scope, operator; and on the
// proxy listener exactly the calls that the table opens there.
func TestWhoMayCall(t *testing.T) {
	g := apitest.New(t)
	callers := newCallers(g)
	for i, rt := range g.API.Routes() {
		if rt.Access&rest.Open != 0 {
			continue
		}
		t.Run(rt.ID, func(t *testing.T) {
			g.T = t
			c := &call{g, rt, fmt.Sprintf("192.0.2.%d", i)}
			c.refuses(t, callers.none)
			c.takes(t, callers.scoped)
			c.proxied(t, callers.scoped[rt.Scope])
		})
	}
}

func TestProxyTakesExactPairsOnly(t *testing.T) {
	g := apitest.New(t)
	_, admin := g.Key("live", "admin")
	for _, c := range []struct {
		method, path string
		taken        bool
	}{
		{"GET", "/v1/keys", true},
		{"HEAD", "/v1/keys", false},
		{"OPTIONS", "/v1/keys", false},
		{"PUT", "/v1/keys", false},
		{"GET", "/v1/keys/", false},
		{"GET", "//v1/keys", false},
		{"GET", "/v1//keys", false},
		{"GET", "/v1/./keys", false},
		{"GET", "/v1/x/../keys", false},
		{"GET", "/v1/%6Beys", false},
		{"GET", "/v1%2Fkeys", false},
		{"GET", "/v1/keys/key_x/y", false},
		{"GET", "/v1/chat", false},
		{"GET", "/v1/accounts", false},
		{"POST", "/v1/keys/import", false},
		{"GET", "/metrics", false},
		{"GET", "/openapi.yaml", false},
		{"GET", "/livez", true},
		{"HEAD", "/readyz", true},
		{"POST", "/livez", false},
		{"GET", "/.well-known/security.txt", true},
		{"GET", "/", false},
	} {
		before := g.Next.Load()
		g.Do(g.Proxy.URL, c.method, c.path, admin, "")
		if taken := g.Next.Load() == before; taken != c.taken {
			t.Errorf("%s %s: taken %v, want %v", c.method, c.path, taken, c.taken)
		}
	}
	free := apitest.New(t, func(c *httpapi.Config) { c.SelfService = false })
	free.Unchecked = true
	pages := 0
	for _, rt := range free.API.Routes() {
		if rt.Access&rest.Open != 0 && !strings.HasPrefix(rt.Path, "/v1/") {
			pages++
			continue
		}
		path, body := sample(rt, "key_1")
		free.Do(free.Proxy.URL, rt.Method, path, "", body)
	}
	if n := free.Next.Load(); n != int64(len(free.API.Routes())-pages) || pages != 10 {
		t.Errorf("with self_service off %d calls reached the proxy", n)
	}
	free.Do(free.Proxy.URL, "GET", "/livez", "", "").Want(t, 200)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	g := apitest.New(t)
	for _, path := range []string{"//", "/v1", "/v1/", "/v1/keys/", "//v1/keys", "/v1/keys//", "/v1/../v1/keys", "/v1/keys/..", "/v1/keys/%2e%2e", "/v1/%6Beys", "/V1/keys", "/v1/keys/a%20b", "/dashboard", "/v1/nothing", "/v1/keys/import"} {
		a := g.Op("GET", path, "")
		if a.Status != 404 && !(path == "/v1/keys/import" && a.Status == 405) {
			t.Errorf("GET %s: %d", path, a.Status)
		}
		if ct := a.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("GET %s: %s", path, ct)
		}
	}
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/v1/keys", "GET, HEAD, POST"},
		{"PUT", "/v1/keys/key_1", "GET, HEAD, PATCH"},
		{"GET", "/v1/keys/verify", "POST"},
		{"POST", "/v1/allowlist", "GET, HEAD, PUT"},
		{"TRACE", "/livez", "GET, HEAD"},
	} {
		a := g.Op(c.method, c.path, "").Want(t, 405, fault.MethodNotAllowed)
		if got := a.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got, c.allow)
		}
	}
	// Allow names every method of a path once.
	paths := map[string][]string{}
	for _, rt := range g.API.Routes() {
		path, _ := sample(rt, "key_1")
		paths[path] = append(paths[path], rt.Method)
		if rt.Method == http.MethodGet {
			paths[path] = append(paths[path], http.MethodHead)
		}
	}
	for path, methods := range paths {
		slices.Sort(methods)
		allow := g.Op("TRACE", path, "").Want(t, 405, fault.MethodNotAllowed).Header.Get("Allow")
		if allow != strings.Join(slices.Compact(methods), ", ") {
			t.Errorf("%s: Allow %q, want %q", path, allow, methods)
		}
	}
	g.Op("HEAD", "/v1/keys", "").Want(t, 200)
	g.Op("GET", "/v1/nothing", "", "Accept", "application/problem+json").Want(t, 404)
}

func TestRequestID(t *testing.T) {
	g := apitest.New(t)
	for _, id := range []string{"a", "A-1_b.c", strings.Repeat("x", 128)} {
		for _, path := range []string{"/v1/keys", "/nothing", "/livez"} {
			if got := g.Op("GET", path, "", "X-Request-Id", id).Header.Get("X-Request-Id"); got != id {
				t.Errorf("%s: id %q became %q", path, id, got)
			}
		}
	}
	for _, id := range []string{"a b", strings.Repeat("x", 129), "ü", "a/b", "<script>"} {
		if got := g.Op("GET", "/v1/keys", "", "X-Request-Id", id).Header.Get("X-Request-Id"); got == id || got == "" {
			t.Errorf("id %q became %q", id, got)
		}
	}
}
