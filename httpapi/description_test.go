package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// The route table, openapi.yaml and the client name the same calls.
func TestTableDescriptionAndClientAgree(t *testing.T) {
	g := apitest.New(t)
	apitest.Must(t, g.Doc.Validate(context.Background()))
	described := map[string]string{}
	for path, item := range g.Doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[op.OperationID] = method + " " + path
			listeners, _ := op.Extensions["x-listener"].([]any)
			rt := route(g, op.OperationID)
			if rt == nil {
				t.Errorf("%s is described and not routed", op.OperationID)
				continue
			}
			if got := slices.Contains(listeners, any("proxy")); got != (rt.Access&rest.OnProxy != 0) {
				t.Errorf("%s: on the proxy listener: described %v", rt.ID, got)
			}
			scope, _ := op.Extensions["x-scope"].(string)
			want := map[store.Scope]string{store.ScopeAdmin: "admin", store.ScopeRead: "read", store.ScopeVerify: "verify", store.ScopeLimit: "limit"}[rt.Scope]
			if rt.Access&rest.Operators != 0 {
				want = "operator"
			}
			if rt.Access&rest.AnyScope != 0 {
				want = "any"
			}
			if rt.Access&rest.NoKeys != 0 {
				want = "user"
			}
			if rt.Access&rest.Personal != 0 {
				want = "session"
			}
			if scope != want {
				t.Errorf("%s: x-scope %q, want %q", rt.ID, scope, want)
			}
			if (op.Security != nil && len(*op.Security) == 0) != (rt.Access&rest.Open != 0) {
				t.Errorf("%s: security is described otherwise", rt.ID)
			}
		}
	}
	for _, rt := range g.API.Routes() {
		if described[rt.ID] != rt.Method+" "+rt.Path {
			t.Errorf("%s: routed as %s %s, described as %q", rt.ID, rt.Method, rt.Path, described[rt.ID])
		}
	}
	called := map[string]bool{}
	for id, call := range clientCalls(g) {
		rec := &recordedCall{}
		c, err := client.New("http://perfgate.test", apitest.OperatorToken)
		apitest.Must(t, err)
		c.HTTP = &http.Client{Transport: rec}
		call(c)
		if rec.r == nil {
			t.Errorf("%s: the client sent nothing", id)
			continue
		}
		rt, _, _ := g.API.Table().Find(rec.r.Method, rec.r.URL)
		if rt == nil || rt.ID != id {
			t.Errorf("the client's %s goes to %s %s", id, rec.r.Method, rec.r.URL.Path)
		}
		called[id] = true
	}
	for _, rt := range g.API.Routes() {
		if !called[rt.ID] {
			t.Errorf("the client has no %s", rt.ID)
		}
	}
}

func route(g *apitest.Rig, id string) *rest.Route {
	for _, rt := range g.API.Routes() {
		if rt.ID == id {
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

func clientCalls(*apitest.Rig) map[string]func(*client.Client) {
	ctx := context.Background()
	return map[string]func(*client.Client){
		"createKey":            func(c *client.Client) { c.CreateKey(ctx, client.NewKey{}) },
		"listKeys":             func(c *client.Client) { c.ListKeys(ctx, client.KeyFilter{}) },
		"getKey":               func(c *client.Client) { c.GetKey(ctx, "key_1") },
		"keyNodes":             func(c *client.Client) { c.Insight().KeyNodes(ctx, "key_1") },
		"updateKey":            func(c *client.Client) { c.UpdateKey(ctx, "key_1", nil) },
		"rotateKey":            func(c *client.Client) { c.RotateKey(ctx, "key_1", "1h") },
		"revokeKey":            func(c *client.Client) { c.RevokeKey(ctx, "key_1", "") },
		"revokeKeys":           func(c *client.Client) { c.RevokeKeys(ctx, client.BulkRevocation{}) },
		"revokeLeakedKey":      func(c *client.Client) { c.RevokeLeakedKey(ctx, "pk_live_x") },
		"importKeys":           func(c *client.Client) { c.ImportKeys(ctx, strings.NewReader("")) },
		"verifyKey":            func(c *client.Client) { c.VerifyKey(ctx, client.VerifyRequest{}) },
		"rateLimit":            func(c *client.Client) { c.RateLimit(ctx, client.RateRequest{}) },
		"getAllowlist":         func(c *client.Client) { c.GetAllowlist(ctx) },
		"setAllowlist":         func(c *client.Client) { c.SetAllowlist(ctx, nil) },
		"confirmAllowlist":     func(c *client.Client) { client.Trial{Client: c}.Confirm(ctx) },
		"revertAllowlist":      func(c *client.Client) { client.Trial{Client: c}.Revert(ctx) },
		"usage":                func(c *client.Client) { c.Insight().Usage(ctx, client.UsageQuery{}) },
		"keyUsage":             func(c *client.Client) { c.Insight().KeyUsage(ctx, "key_1", "", "") },
		"securityEvents":       func(c *client.Client) { c.Insight().SecurityEvents(ctx, "", "", "") },
		"hygiene":              func(c *client.Client) { c.Insight().Hygiene(ctx) },
		"auditHead":            func(c *client.Client) { c.AuditHead(ctx, "") },
		"rotateAuditKey":       func(c *client.Client) { c.RotateAuditKey(ctx) },
		"auditLogs":            func(c *client.Client) { c.AuditLogs(ctx, client.AuditQuery{}, io.Discard) },
		"simulateLimits":       func(c *client.Client) { c.SimulateLimits(ctx, client.Proposal{}) },
		"limits":               func(c *client.Client) { c.Limits(ctx, "key_a") },
		"getAccount":           func(c *client.Client) { c.GetAccount(ctx) },
		"updateAccount":        func(c *client.Client) { c.UpdateAccount(ctx, nil) },
		"createWebhook":        func(c *client.Client) { client.Webhooks{Client: c}.Create(ctx, client.NewWebhook{}) },
		"listWebhooks":         func(c *client.Client) { client.Webhooks{Client: c}.List(ctx, client.Page{}) },
		"getWebhook":           func(c *client.Client) { client.Webhooks{Client: c}.Get(ctx, "whk_1") },
		"updateWebhook":        func(c *client.Client) { client.Webhooks{Client: c}.Update(ctx, "whk_1", nil) },
		"deleteWebhook":        func(c *client.Client) { client.Webhooks{Client: c}.Delete(ctx, "whk_1") },
		"rotateWebhookSecret":  func(c *client.Client) { client.Webhooks{Client: c}.RotateSecret(ctx, "whk_1", "1h") },
		"testWebhook":          func(c *client.Client) { client.Webhooks{Client: c}.Test(ctx, "whk_1") },
		"listDeliveries":       func(c *client.Client) { client.Webhooks{Client: c}.Deliveries(ctx, "whk_1", "", client.Page{}) },
		"redeliver":            func(c *client.Client) { client.Webhooks{Client: c}.Redeliver(ctx, "whk_1", "dlv_1") },
		"redeliverSince":       func(c *client.Client) { client.Webhooks{Client: c}.RedeliverSince(ctx, "whk_1", time.Now()) },
		"eraseAccountData":     func(c *client.Client) { client.Erasures{Client: c}.Create(ctx, client.NewErasure{}) },
		"listErasures":         func(c *client.Client) { client.Erasures{Client: c}.List(ctx, client.Page{}) },
		"getErasure":           func(c *client.Client) { client.Erasures{Client: c}.Get(ctx, "ers_1") },
		"cancelErasure":        func(c *client.Client) { client.Erasures{Client: c}.Cancel(ctx, "ers_1") },
		"openIncident":         func(c *client.Client) { client.Incidents{Client: c}.Open(ctx, client.NewIncident{}) },
		"listIncidents":        func(c *client.Client) { client.Incidents{Client: c}.List(ctx, client.Page{}) },
		"getIncident":          func(c *client.Client) { client.Incidents{Client: c}.Get(ctx, "inc_1") },
		"closeIncident":        func(c *client.Client) { client.Incidents{Client: c}.Close(ctx, "inc_1") },
		"incidentReport":       func(c *client.Client) { client.Incidents{Client: c}.Report(ctx, "inc_1", false, io.Discard) },
		"createManagedAccount": func(c *client.Client) { c.Accounts().Create(ctx, client.NewAccount{}) },
		"listManagedAccounts":  func(c *client.Client) { c.Accounts().List(ctx, client.Page{}) },
		"getManagedAccount":    func(c *client.Client) { c.Accounts().Get(ctx, "default") },
		"updateManagedAccount": func(c *client.Client) { c.Accounts().Update(ctx, "default", nil) },
		"deleteManagedAccount": func(c *client.Client) { c.Accounts().Delete(ctx, "default") },
		"createTier":           func(c *client.Client) { c.Tiers().Create(ctx, client.Tier{}) },
		"listTiers":            func(c *client.Client) { c.Tiers().List(ctx, client.Page{}) },
		"getTier":              func(c *client.Client) { c.Tiers().Get(ctx, "pro") },
		"updateTier":           func(c *client.Client) { c.Tiers().Update(ctx, "pro", nil) },
		"deleteTier":           func(c *client.Client) { c.Tiers().Delete(ctx, "pro") },
		"setupPage":            func(c *client.Client) { client.SessionsOf(c).SetupPage(ctx, "t", io.Discard) },
		"setup":                func(c *client.Client) { client.SessionsOf(c).Setup(ctx, "t", "p") },
		"signInOIDC":           func(c *client.Client) { client.SessionsOf(c).OIDC(ctx) },
		"signInOIDCCallback":   func(c *client.Client) { client.SessionsOf(c).OIDCCallback(ctx, "s", "c") },
		"createUser":           func(c *client.Client) { client.UsersOf(c).Create(ctx, client.NewUser{}) },
		"listUsers":            func(c *client.Client) { client.UsersOf(c).List(ctx, client.Page{}) },
		"getUser":              func(c *client.Client) { client.UsersOf(c).Get(ctx, "usr_1") },
		"updateUser":           func(c *client.Client) { client.UsersOf(c).Update(ctx, "usr_1", nil) },
		"deleteUser":           func(c *client.Client) { client.UsersOf(c).Delete(ctx, "usr_1") },
		"disableUser":          func(c *client.Client) { client.UsersOf(c).Disable(ctx, "usr_1", true) },
		"resetUser":            func(c *client.Client) { client.UsersOf(c).Reset(ctx, "usr_1", true) },
		"signIn":               func(c *client.Client) { client.SessionsOf(c).SignIn(ctx, client.Credentials{}) },
		"session":              func(c *client.Client) { client.SessionsOf(c).Current(ctx) },
		"signOut":              func(c *client.Client) { client.SessionsOf(c).SignOut(ctx) },
		"setPassword":          func(c *client.Client) { client.SessionsOf(c).SetPassword(ctx, "", "") },
		"newSecondFactor":      func(c *client.Client) { client.SessionsOf(c).NewSecondFactor(ctx) },
		"setSecondFactor":      func(c *client.Client) { client.SessionsOf(c).SetSecondFactor(ctx, "", "", "") },
		"removeSecondFactor":   func(c *client.Client) { client.SessionsOf(c).RemoveSecondFactor(ctx, "") },
		"listSessions":         func(c *client.Client) { client.SessionsOf(c).List(ctx, "", client.Page{}) },
		"endSession":           func(c *client.Client) { client.SessionsOf(c).End(ctx, "ses_1") },
		"createSessionLink":    func(c *client.Client) { client.SessionsOf(c).CreateLink(ctx, client.NewSessionLink{}) },
		"sessionLinkPage":      func(c *client.Client) { client.SessionsOf(c).LinkPage(ctx, "x", io.Discard) },
		"openSessionLink":      func(c *client.Client) { client.SessionsOf(c).OpenLink(ctx, "x") },
		"createOperatorToken":  func(c *client.Client) { client.OperatorTokensOf(c).Create(ctx, client.NewOperatorToken{}) },
		"listOperatorTokens":   func(c *client.Client) { client.OperatorTokensOf(c).List(ctx, client.Page{}) },
		"deleteOperatorToken":  func(c *client.Client) { client.OperatorTokensOf(c).Delete(ctx, "op_1") },
		"cluster":              func(c *client.Client) { c.Cluster(ctx) },
		"transferLeadership":   func(c *client.Client) { c.TransferLeadership(ctx, "") },
		"compliance":           func(c *client.Client) { c.Compliance(ctx) },
		"keyring":              func(c *client.Client) { c.Vault().Read(ctx) },
		"rotateKEK":            func(c *client.Client) { c.Vault().RotateKEK(ctx) },
		"rotateDataKey":        func(c *client.Client) { c.Vault().RotateData(ctx) },
		"rotatePepper":         func(c *client.Client) { c.Vault().RotatePepper(ctx) },
		"finishPepper":         func(c *client.Client) { c.Vault().FinishPepper(ctx) },
		"removeNode":           func(c *client.Client) { c.RemoveNode(ctx, "n2") },
		"accountData":          func(c *client.Client) { client.Erasures{Client: c}.Export(ctx, io.Discard) },
		"backup":               func(c *client.Client) { c.Backup(ctx, io.Discard) },
		"livez":                func(c *client.Client) { c.Livez(ctx) },
		"readyz":               func(c *client.Client) { c.Readyz(ctx) },
		"securityTxt":          func(c *client.Client) { c.SecurityTxt(ctx, io.Discard) },
		"openAPI":              func(c *client.Client) { c.OpenAPI(ctx, io.Discard) },
		"metrics":              func(c *client.Client) { c.Metrics(ctx, io.Discard) },
	}
}

// The author of a client finds every code in the description, and no other.
func TestDescriptionListsEveryCode(t *testing.T) {
	g := apitest.New(t)
	var listed, codes []string
	for _, c := range g.Doc.Components.Schemas["FaultBody"].Value.Properties["code"].Value.Enum {
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
