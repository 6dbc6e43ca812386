package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// sample is a body and a path that fit a call, for tests over all of them.
func sample(rt *route, id string) (path, body string) {
	path = strings.NewReplacer("{id}", id, "{name}", "pro").Replace(rt.path)
	if strings.HasPrefix(rt.path, "/v1/accounts/") {
		path = "/v1/accounts/default"
	}
	if rt.id == "removeNode" {
		path = "/v1/cluster/nodes/n2"
	}
	switch rt.id {
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
	case "createTier":
		body = `{"name":"n","live":{},"test":{}}`
	}
	if body == "" && rt.method != http.MethodGet {
		body = "{}"
	}
	return path, body
}

// Every call × no credential, wrong scope, right scope, operator; and on the
// proxy listener exactly the calls that the table opens there.
func TestWhoMayCall(t *testing.T) {
	g := newRig(t)
	_, none := g.key("live", "custom")
	_, admin := g.key("live", "admin")
	scoped := map[store.Scope]string{}
	for s, name := range map[store.Scope]string{store.ScopeRead: "read", store.ScopeVerify: "verify", store.ScopeLimit: "limit"} {
		_, scoped[s] = g.key("test", name)
	}
	scoped[store.ScopeAdmin] = admin
	for i, rt := range g.api.routes.all {
		if rt.access&open != 0 {
			continue
		}
		t.Run(rt.id, func(t *testing.T) {
			g.t = t
			hop := fmt.Sprintf("192.0.2.%d", i) // failures are counted by address
			var path, body string
			try := func(token string) answer {
				id, _ := g.key("test", "read") // one to spend
				path, body = sample(rt, id)
				return g.do(g.admin.URL, rt.method, path, token, body, "X-Forwarded-For", hop)
			}
			a := try("").want(t, 401, fault.MissingKey)
			if c := a.header.Get("WWW-Authenticate"); c != `Bearer realm="perf"` {
				t.Errorf("challenge %q", c)
			}
			try("pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ").want(t, 401, fault.InvalidKey)
			try("pgop_wrong").want(t, 401)
			a = try(none).want(t, 403, fault.InsufficientScope)
			if c := a.header.Get("WWW-Authenticate"); !strings.Contains(c, `error="insufficient_scope"`) {
				t.Errorf("challenge %q", c)
			}
			if rt.access&operators != 0 {
				try(admin).want(t, 403, fault.Forbidden)
			} else {
				for _, token := range []string{scoped[rt.scope], admin} {
					if a := try(token); a.status >= 300 {
						t.Errorf("a key with the scope: %d %s", a.status, a.body)
					}
				}
			}
			if rt.id == "deleteManagedAccount" || rt.id == "deleteTier" {
				try(operatorToken).want(t, 409, fault.Conflict) // built in
			} else if rt.id == "createTier" {
				try(operatorToken).want(t, 201)
			} else if a := try(operatorToken); a.status >= 300 && a.status != 409 {
				t.Errorf("an operator: %d %s", a.status, a.body)
			}

			id, _ := g.key("test", "read")
			path, body = sample(rt, id)
			before := g.next.Load()
			a = g.do(g.proxy.URL, rt.method, path, scoped[rt.scope], body)
			if taken := g.next.Load() == before; taken != (rt.access&onProxy != 0) {
				t.Errorf("taken from the proxy listener: %v", taken)
			}
			if rt.access&onProxy != 0 {
				g.do(g.proxy.URL, rt.method, path, operatorToken, body, "X-Forwarded-For", hop).want(t, 401)
				g.do(g.proxy.URL, rt.method, path, "", body).want(t, 401, fault.MissingKey)
			}
		})
	}
}

func TestProxyTakesExactPairsOnly(t *testing.T) {
	g := newRig(t)
	_, admin := g.key("live", "admin")
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
		before := g.next.Load()
		g.do(g.proxy.URL, c.method, c.path, admin, "")
		if taken := g.next.Load() == before; taken != c.taken {
			t.Errorf("%s %s: taken %v, want %v", c.method, c.path, taken, c.taken)
		}
	}
	free := newRig(t, func(c *Config) { c.SelfService = false })
	for _, rt := range free.api.routes.all {
		if rt.access&open == 0 {
			path, body := sample(rt, "key_1")
			free.do(free.proxy.URL, rt.method, path, "", body)
		}
	}
	if n := free.next.Load(); n != 32 {
		t.Errorf("with self_service off %d calls reached the proxy", n)
	}
	free.do(free.proxy.URL, "GET", "/livez", "", "").want(t, 200)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	g := newRig(t)
	for _, path := range []string{"/", "//", "/v1", "/v1/", "/v1/keys/", "//v1/keys", "/v1/keys//", "/v1/../v1/keys", "/v1/keys/..", "/v1/keys/%2e%2e", "/v1/%6Beys", "/V1/keys", "/v1/keys/a%20b", "/dashboard", "/v1/nothing", "/v1/keys/import"} {
		a := g.op("GET", path, "")
		if a.status != 404 && !(path == "/v1/keys/import" && a.status == 405) {
			t.Errorf("GET %s: %d", path, a.status)
		}
		if ct := a.header.Get("Content-Type"); ct != "application/json" {
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
		a := g.op(c.method, c.path, "").want(t, 405, fault.MethodNotAllowed)
		if got := a.header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got, c.allow)
		}
	}
	g.op("HEAD", "/v1/keys", "").want(t, 200)
	g.op("GET", "/v1/nothing", "", "Accept", "application/problem+json").want(t, 404)
}

func TestRequestID(t *testing.T) {
	g := newRig(t)
	for _, id := range []string{"a", "A-1_b.c", strings.Repeat("x", 128)} {
		for _, path := range []string{"/v1/keys", "/nothing", "/livez"} {
			if got := g.op("GET", path, "", "X-Request-Id", id).header.Get("X-Request-Id"); got != id {
				t.Errorf("%s: id %q became %q", path, id, got)
			}
		}
	}
	for _, id := range []string{"a b", strings.Repeat("x", 129), "ü", "a/b", "<script>"} {
		if got := g.op("GET", "/v1/keys", "", "X-Request-Id", id).header.Get("X-Request-Id"); got == id || got == "" {
			t.Errorf("id %q became %q", id, got)
		}
	}
}

// The route table, openapi.yaml and the client name the same calls.
func TestTableDescriptionAndClientAgree(t *testing.T) {
	g := newRig(t)
	must(t, g.doc.Validate(context.Background()))
	described := map[string]string{}
	for path, item := range g.doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[op.OperationID] = method + " " + path
			listeners, _ := op.Extensions["x-listener"].([]any)
			rt := g.route(op.OperationID)
			if rt == nil {
				t.Errorf("%s is described and not routed", op.OperationID)
				continue
			}
			if got := slices.Contains(listeners, any("proxy")); got != (rt.access&onProxy != 0) {
				t.Errorf("%s: on the proxy listener: described %v", rt.id, got)
			}
			scope, _ := op.Extensions["x-scope"].(string)
			want := map[store.Scope]string{store.ScopeAdmin: "admin", store.ScopeRead: "read", store.ScopeVerify: "verify", store.ScopeLimit: "limit"}[rt.scope]
			if rt.access&operators != 0 {
				want = "operator"
			}
			if scope != want {
				t.Errorf("%s: x-scope %q, want %q", rt.id, scope, want)
			}
			if (op.Security != nil && len(*op.Security) == 0) != (rt.access&open != 0) {
				t.Errorf("%s: security is described otherwise", rt.id)
			}
		}
	}
	for _, rt := range g.api.routes.all {
		if described[rt.id] != rt.method+" "+rt.path {
			t.Errorf("%s: routed as %s %s, described as %q", rt.id, rt.method, rt.path, described[rt.id])
		}
	}
	called := map[string]bool{}
	for id, call := range clientCalls(g) {
		rec := &recordedCall{}
		c, err := client.New("http://perfgate.test", operatorToken)
		must(t, err)
		c.HTTP = &http.Client{Transport: rec}
		call(c)
		if rec.r == nil {
			t.Errorf("%s: the client sent nothing", id)
			continue
		}
		rt, _, _ := g.api.routes.find(rec.r)
		if rt == nil || rt.id != id {
			t.Errorf("the client's %s goes to %s %s", id, rec.r.Method, rec.r.URL.Path)
		}
		called[id] = true
	}
	for _, rt := range g.api.routes.all {
		if !called[rt.id] {
			t.Errorf("the client has no %s", rt.id)
		}
	}
}

func (g *rig) route(id string) *route {
	for _, rt := range g.api.routes.all {
		if rt.id == id {
			return rt
		}
	}
	return nil
}

type recordedCall struct{ r *http.Request }

func (c *recordedCall) RoundTrip(r *http.Request) (*http.Response, error) {
	c.r = r
	return &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

func clientCalls(*rig) map[string]func(*client.Client) {
	ctx := context.Background()
	return map[string]func(*client.Client){
		"createKey":            func(c *client.Client) { c.CreateKey(ctx, client.NewKey{}) },
		"listKeys":             func(c *client.Client) { c.ListKeys(ctx, client.KeyFilter{}) },
		"getKey":               func(c *client.Client) { c.GetKey(ctx, "key_1") },
		"updateKey":            func(c *client.Client) { c.UpdateKey(ctx, "key_1", nil) },
		"rotateKey":            func(c *client.Client) { c.RotateKey(ctx, "key_1", "1h") },
		"revokeKey":            func(c *client.Client) { c.RevokeKey(ctx, "key_1", "") },
		"revokeKeys":           func(c *client.Client) { c.RevokeKeys(ctx, client.BulkRevocation{}) },
		"importKeys":           func(c *client.Client) { c.ImportKeys(ctx, strings.NewReader("")) },
		"verifyKey":            func(c *client.Client) { c.VerifyKey(ctx, client.VerifyRequest{}) },
		"rateLimit":            func(c *client.Client) { c.RateLimit(ctx, client.RateRequest{}) },
		"getAllowlist":         func(c *client.Client) { c.GetAllowlist(ctx) },
		"setAllowlist":         func(c *client.Client) { c.SetAllowlist(ctx, nil) },
		"usage":                func(c *client.Client) { c.Usage(ctx, client.UsageQuery{}) },
		"auditLogs":            func(c *client.Client) { c.AuditLogs(ctx, client.AuditQuery{}, io.Discard) },
		"getAccount":           func(c *client.Client) { c.GetAccount(ctx) },
		"updateAccount":        func(c *client.Client) { c.UpdateAccount(ctx, nil) },
		"createManagedAccount": func(c *client.Client) { c.CreateManagedAccount(ctx, client.NewAccount{}) },
		"listManagedAccounts":  func(c *client.Client) { c.ListManagedAccounts(ctx, client.Page{}) },
		"getManagedAccount":    func(c *client.Client) { c.GetManagedAccount(ctx, "default") },
		"updateManagedAccount": func(c *client.Client) { c.UpdateManagedAccount(ctx, "default", nil) },
		"deleteManagedAccount": func(c *client.Client) { c.DeleteManagedAccount(ctx, "default") },
		"createTier":           func(c *client.Client) { c.CreateTier(ctx, client.Tier{}) },
		"listTiers":            func(c *client.Client) { c.ListTiers(ctx, client.Page{}) },
		"getTier":              func(c *client.Client) { c.GetTier(ctx, "pro") },
		"updateTier":           func(c *client.Client) { c.UpdateTier(ctx, "pro", nil) },
		"deleteTier":           func(c *client.Client) { c.DeleteTier(ctx, "pro") },
		"cluster":              func(c *client.Client) { c.Cluster(ctx) },
		"transferLeadership":   func(c *client.Client) { c.TransferLeadership(ctx, "") },
		"removeNode":           func(c *client.Client) { c.RemoveNode(ctx, "n2") },
		"backup":               func(c *client.Client) { c.Backup(ctx, io.Discard) },
		"livez":                func(c *client.Client) { c.Livez(ctx) },
		"readyz":               func(c *client.Client) { c.Readyz(ctx) },
		"securityTxt":          func(c *client.Client) { c.SecurityTxt(ctx, io.Discard) },
		"openAPI":              func(c *client.Client) { c.OpenAPI(ctx, io.Discard) },
		"metrics":              func(c *client.Client) { c.Metrics(ctx, io.Discard) },
	}
}

// Whoever writes a client finds every code in the description, and no other.
func TestDescriptionListsEveryCode(t *testing.T) {
	g := newRig(t)
	var listed, codes []string
	for _, c := range g.doc.Components.Schemas["FaultBody"].Value.Properties["code"].Value.Enum {
		listed = append(listed, fmt.Sprint(c))
	}
	for _, c := range fault.Codes() {
		codes = append(codes, string(c))
	}
	slices.Sort(listed)
	slices.Sort(codes)
	if !slices.Equal(listed, codes) {
		t.Errorf("described are\n%v\nanswered are\n%v", listed, codes)
	}
}
