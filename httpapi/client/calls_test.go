package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// apiCall is one method of the client with the request it must make.
type apiCall struct {
	name string
	do   func(ctx context.Context, c *client.Client) (any, error)
	line string
	body string
}

var someTime = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)

// keyCalls are the calls about keys.
var keyCalls = []apiCall{
	{"CreateKey", func(ctx context.Context, c *client.Client) (any, error) {
		return c.CreateKey(ctx, client.NewKey{Name: "n", Type: "live"})
	}, "POST /v1/keys", `{"name":"n","type":"live"}`},
	{"CreateKey", func(ctx context.Context, c *client.Client) (any, error) {
		return c.CreateKey(ctx, client.NewKey{
			Name: "n", Type: "test", Environment: "e", Scopes: []string{"read"}, ExpiresAt: &someTime,
			Limits: &client.Limits{PerMinute: pointer(int64(5))}, MaxCostPerCall: pointer(json.Number("0.010")), MonthlyBudget: pointer(json.Number("1")),
			Allowlist: []string{"10.0.0.0/8"}, Routes: []string{"/v1"}, Metadata: map[string]string{"a": "b"},
		})
	}, "POST /v1/keys", `{"name":"n","type":"test","environment":"e","scopes":["read"],"expires_at":"2027-01-31T00:00:00Z",` +
		`"limits":{"requests_per_minute":5,"burst":null,"requests_per_month":null},"max_cost_per_call":0.010,"monthly_budget":1,` +
		`"allowlist":["10.0.0.0/8"],"routes":["/v1"],"metadata":{"a":"b"}}`},
	{"ListKeys", func(ctx context.Context, c *client.Client) (any, error) {
		return c.ListKeys(ctx, client.KeyFilter{})
	}, "GET /v1/keys", ""},
	{"ListKeys", func(ctx context.Context, c *client.Client) (any, error) {
		return c.ListKeys(ctx, client.KeyFilter{Type: "live", State: "active", Environment: "e", Name: "a b&c", CreatedBy: "op_1", Page: client.Page{Limit: 5, Cursor: "x="}})
	}, "GET /v1/keys?created_by=op_1&cursor=x%3D&environment=e&limit=5&name=a+b%26c&state=active&type=live", ""},
	{"ListKeys", func(ctx context.Context, c *client.Client) (any, error) {
		return c.ListKeys(ctx, client.KeyFilter{Q: "prod uction", Due: "rotation", Sort: "-last_used_at"})
	}, "GET /v1/keys?due=rotation&q=prod+uction&sort=-last_used_at", ""},
	{"GetKey", func(ctx context.Context, c *client.Client) (any, error) { return c.GetKey(ctx, "key_1") }, "GET /v1/keys/key_1", ""},
	{"UpdateKey", func(ctx context.Context, c *client.Client) (any, error) {
		return c.UpdateKey(ctx, "key/1", client.Patch{"expires_at": nil})
	}, "PATCH /v1/keys/key%2F1", `{"expires_at":null}`},
	{"RotateKey", func(ctx context.Context, c *client.Client) (any, error) { return c.RotateKey(ctx, "key_1", "24h") },
		"POST /v1/keys/key_1/rotate", `{"overlap":"24h"}`},
	{"RotateKey", func(ctx context.Context, c *client.Client) (any, error) { return c.RotateKey(ctx, "key_1", "") },
		"POST /v1/keys/key_1/rotate", `{}`},
	{"RevokeKey", func(ctx context.Context, c *client.Client) (any, error) { return c.RevokeKey(ctx, "key_1", "leaked") },
		"POST /v1/keys/key_1/revoke", `{"reason":"leaked"}`},
	{"RevokeKey", func(ctx context.Context, c *client.Client) (any, error) { return c.RevokeKey(ctx, "key?1", "") },
		"POST /v1/keys/key%3F1/revoke", `{}`},
	{"RevokeChain", func(ctx context.Context, c *client.Client) (any, error) { return c.RevokeChain(ctx, "key_1", "leaked") },
		"POST /v1/keys/key_1/revoke", `{"chain":true,"reason":"leaked"}`},
	{"RevokeKeys", func(ctx context.Context, c *client.Client) (any, error) {
		return c.RevokeKeys(ctx, client.BulkRevocation{IDs: []string{"key_1"}, DryRun: true})
	}, "POST /v1/keys/revoke", `{"ids":["key_1"],"dry_run":true}`},
	{"RevokeKeys", func(ctx context.Context, c *client.Client) (any, error) {
		return c.RevokeKeys(ctx, client.BulkRevocation{CreatedBy: pointer(""), Type: pointer("live"), Environment: pointer("e"), CreatedBefore: &someTime, Reason: pointer("r")})
	}, "POST /v1/keys/revoke", `{"created_by":"","type":"live","environment":"e","created_before":"2027-01-31T00:00:00Z","reason":"r"}`},
	{"ImportKeys", func(ctx context.Context, c *client.Client) (any, error) {
		return c.ImportKeys(ctx, strings.NewReader("{}\n{}\n"))
	}, "POST /v1/keys/import", "{}\n{}\n"},
	{"ImportKeys", func(ctx context.Context, c *client.Client) (any, error) {
		return c.ImportKeys(ctx, strings.NewReader("{}\n"), client.Reassign())
	}, "POST /v1/keys/import?reassign=true", "{}\n"},
	{"VerifyKey", func(ctx context.Context, c *client.Client) (any, error) {
		return c.VerifyKey(ctx, client.VerifyRequest{Key: "pk_live_x"})
	}, "POST /v1/keys/verify", `{"key":"pk_live_x"}`},
	{"VerifyKey", func(ctx context.Context, c *client.Client) (any, error) {
		return c.VerifyKey(ctx, client.VerifyRequest{Key: "k", IP: "192.0.2.1", Method: "POST", Host: "h", Path: "/", Units: pointer(int64(0)), Consume: pointer(false)})
	}, "POST /v1/keys/verify", `{"key":"k","ip":"192.0.2.1","method":"POST","host":"h","path":"/","units":0,"consume":false}`},
	{"RateLimit", func(ctx context.Context, c *client.Client) (any, error) {
		return c.RateLimit(ctx, client.RateRequest{Namespace: "ns", Identifier: "u", Limit: 5, Window: "60s", Burst: pointer(int64(2)), Units: pointer(int64(0))})
	}, "POST /v1/ratelimit", `{"namespace":"ns","identifier":"u","limit":5,"window":"60s","burst":2,"units":0}`},
}

// accountCalls are the calls about the caller's account and, for operators, about
// all accounts and tiers.
var accountCalls = []apiCall{
	{"Insight.KeyNodes", func(ctx context.Context, c *client.Client) (any, error) { return c.Insight().KeyNodes(ctx, "key_1") }, "GET /v1/keys/key_1/nodes", ""},
	{"Trial.Confirm", func(ctx context.Context, c *client.Client) (any, error) { return client.Trial{Client: c}.Confirm(ctx) }, "POST /v1/allowlist/confirm", ""},
	{"Trial.Revert", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Trial{Client: c}.Revert(ctx, client.Force())
	}, "POST /v1/allowlist/revert?force=true", ""},
	{"GetAllowlist", func(ctx context.Context, c *client.Client) (any, error) { return c.GetAllowlist(ctx) }, "GET /v1/allowlist", ""},
	{"SetAllowlist", func(ctx context.Context, c *client.Client) (any, error) {
		return c.SetAllowlist(ctx, []client.AllowEntry{{CIDR: "10.0.0.0/8", Note: "n"}})
	}, "PUT /v1/allowlist", `{"entries":[{"cidr":"10.0.0.0/8","note":"n"}]}`},
	{"SetAllowlist", func(ctx context.Context, c *client.Client) (any, error) {
		return c.SetAllowlist(ctx, nil, client.Force())
	},
		"PUT /v1/allowlist?force=true", `{"entries":[]}`},
	{"Insight.Usage", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Insight().Usage(ctx, client.UsageQuery{From: "2027-01-01", To: "2027-01-31", Step: "day", Key: "key_1", Type: "live", Environment: "e", GroupBy: "key"})
	}, "GET /v1/usage?environment=e&from=2027-01-01&group_by=key&key=key_1&step=day&to=2027-01-31&type=live", ""},
	{"Insight.KeyUsage", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Insight().KeyUsage(ctx, "key_1", "2027-01-01", "2027-01-31")
	}, "GET /v1/usage/keys/key_1?from=2027-01-01&to=2027-01-31", ""},
	{"Insight.SecurityEvents", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Insight().SecurityEvents(ctx, "2027-01-01", "2027-01-31", "key_1")
	}, "GET /v1/security/events?from=2027-01-01&key=key_1&to=2027-01-31", ""},
	{"Insight.Hygiene", func(ctx context.Context, c *client.Client) (any, error) { return c.Insight().Hygiene(ctx) }, "GET /v1/security/hygiene", ""},
	{"RotateAuditKey", func(ctx context.Context, c *client.Client) (any, error) { return c.RotateAuditKey(ctx) }, "POST /v1/audit-logs/rotate-key", ""},
	{"AuditHead", func(ctx context.Context, c *client.Client) (any, error) { return c.AuditHead(ctx, "") }, "GET /v1/audit-logs/head", ""},
	{"AuditHead", func(ctx context.Context, c *client.Client) (any, error) { return c.AuditHead(ctx, "operators") }, "GET /v1/audit-logs/head?log=operators", ""},
	{"Limits", func(ctx context.Context, c *client.Client) (any, error) { return c.Limits(ctx, "key_1") }, "GET /v1/limits?key=key_1", ""},
	{"Insight.KeyLimits", func(ctx context.Context, c *client.Client) (any, error) { return c.Insight().KeyLimits(ctx, twoKeys) }, "GET /v1/limits?key=key_1%2Ckey_2", ""},
	{"SimulateLimits", func(ctx context.Context, c *client.Client) (any, error) {
		return c.SimulateLimits(ctx, client.Proposal{Type: "live"})
	}, "POST /v1/limits/simulate", `{"type":"live"}`},
	{"GetAccount", func(ctx context.Context, c *client.Client) (any, error) { return c.GetAccount(ctx) }, "GET /v1/account", ""},
	{"UpdateAccount", func(ctx context.Context, c *client.Client) (any, error) {
		return c.UpdateAccount(ctx, client.Patch{"browser_keys": "block"})
	}, "PATCH /v1/account", `{"browser_keys":"block"}`},
	{"Accounts.Create", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Accounts().Create(ctx, client.NewAccount{Name: "Acme", Tier: "pro", Region: "eu", BrowserKeys: "alert", Alerts: []int{80}, RetentionDays: 7})
	}, "POST /v1/accounts", `{"name":"Acme","tier":"pro","region":"eu","browser_keys":"alert","alert_thresholds":[80],"retention_days":7}`},
	{"Accounts.List", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Accounts().List(ctx, client.Page{Limit: 2, Cursor: "c"})
	}, "GET /v1/accounts?cursor=c&limit=2", ""},
	{"Accounts.Get", func(ctx context.Context, c *client.Client) (any, error) { return c.Accounts().Get(ctx, "acct_1") }, "GET /v1/accounts/acct_1", ""},
	{"Accounts.Update", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Accounts().Update(ctx, "acct_1", client.Patch{"tier": "pro"})
	}, "PATCH /v1/accounts/acct_1", `{"tier":"pro"}`},
	{"Accounts.Delete", func(ctx context.Context, c *client.Client) (any, error) { return c.Accounts().Delete(ctx, "acct_1") }, "DELETE /v1/accounts/acct_1", ""},
	{"OperatorTokens.Create", func(ctx context.Context, c *client.Client) (any, error) {
		return client.OperatorTokensOf(c).Create(ctx, client.NewOperatorToken{Name: "ci"})
	}, "POST /v1/operator-tokens", `{"name":"ci"}`},
	{"OperatorTokens.List", func(ctx context.Context, c *client.Client) (any, error) {
		return client.OperatorTokensOf(c).List(ctx, client.Page{})
	}, "GET /v1/operator-tokens", ""},
	{"OperatorTokens.Delete", func(ctx context.Context, c *client.Client) (any, error) {
		return client.OperatorTokensOf(c).Delete(ctx, "op_1", client.Force())
	}, "DELETE /v1/operator-tokens/op_1?force=true", ""},
	{"Tiers.Create", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Tiers().Create(ctx, client.Tier{Name: "t", Live: client.Limits{PerMonth: pointer(int64(0))}, Features: client.Features{IPAllowlist: true}})
	}, "POST /v1/tiers", `{"name":"t","live":{"requests_per_minute":null,"burst":null,"requests_per_month":0},` +
		`"test":{"requests_per_minute":null,"burst":null,"requests_per_month":null},"features":{"ip_allowlist":true}}`},
	{"Webhooks.Create", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Webhooks{Client: c}.Create(ctx, client.NewWebhook{URL: "https://a.example/", Events: []string{"key.revoked"}})
	}, "POST /v1/webhooks", `{"url":"https://a.example/","events":["key.revoked"]}`},
	{"Webhooks.RotateSecret", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Webhooks{Client: c}.RotateSecret(ctx, "whk_1", "1h")
	}, "POST /v1/webhooks/whk_1/rotate-secret", `{"overlap":"1h"}`},
	{"Webhooks.Deliveries", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Webhooks{Client: c}.Deliveries(ctx, "whk_1", "failed", client.Page{Limit: 5})
	}, "GET /v1/webhooks/whk_1/deliveries?limit=5&state=failed", ""},
	{"Webhooks.Redeliver", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Webhooks{Client: c}.Redeliver(ctx, "whk_1", "dlv_1")
	}, "POST /v1/webhooks/whk_1/deliveries/dlv_1/redeliver", ""},
	{"Erasures.Create", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Erasures{Client: c}.Create(ctx, client.NewErasure{Confirm: "acct_1", Everything: true})
	}, "DELETE /v1/account/data", `{"confirm":"acct_1","everything":true}`},
	{"Erasures.Cancel", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Erasures{Client: c}.Cancel(ctx, "ers_1")
	}, "POST /v1/account/erasures/ers_1/cancel", ""},
	{"Incidents.Open", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Incidents{Client: c}.Open(ctx, client.NewIncident{Title: "t", Match: &client.IncidentMatch{IDs: []string{"key_1"}}, Action: "revoke", Freeze: true})
	}, "POST /v1/incidents", `{"title":"t","match":{"ids":["key_1"]},"action":"revoke","freeze":true}`},
	{"Incidents.Close", func(ctx context.Context, c *client.Client) (any, error) {
		return client.Incidents{Client: c}.Close(ctx, "inc_1")
	}, "POST /v1/incidents/inc_1/close", ""},
	{"Tiers.List", func(ctx context.Context, c *client.Client) (any, error) { return c.Tiers().List(ctx, client.Page{}) }, "GET /v1/tiers", ""},
	{"Tiers.Get", func(ctx context.Context, c *client.Client) (any, error) { return c.Tiers().Get(ctx, "a b") }, "GET /v1/tiers/a%20b", ""},
	{"Tiers.Update", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Tiers().Update(ctx, "t", client.Patch{"live": client.Limits{}})
	}, "PATCH /v1/tiers/t", `{"live":{"requests_per_minute":null,"burst":null,"requests_per_month":null}}`},
	{"Tiers.Delete", func(ctx context.Context, c *client.Client) (any, error) { return c.Tiers().Delete(ctx, "t") }, "DELETE /v1/tiers/t", ""},
}

// nodeCalls are the calls about the cluster and its nodes.
var nodeCalls = []apiCall{
	{"Cluster", func(ctx context.Context, c *client.Client) (any, error) { return c.Cluster(ctx) }, "GET /v1/cluster", ""},
	{"Compliance", func(ctx context.Context, c *client.Client) (any, error) { return c.Compliance(ctx) }, "GET /v1/compliance", ""},
	{"Vault.Read", func(ctx context.Context, c *client.Client) (any, error) { return c.Vault().Read(ctx) }, "GET /v1/keyring", ""},
	{"Vault.RotateKEK", func(ctx context.Context, c *client.Client) (any, error) { return c.Vault().RotateKEK(ctx) }, "POST /v1/keyring/rotate-kek", ""},
	{"Vault.RotatePepper", func(ctx context.Context, c *client.Client) (any, error) { return c.Vault().RotatePepper(ctx) }, "POST /v1/keyring/rotate-pepper", ""},
	{"Vault.FinishPepper", func(ctx context.Context, c *client.Client) (any, error) {
		return c.Vault().FinishPepper(ctx, client.Force())
	}, "POST /v1/keyring/finish-pepper?force=true", ""},
	{"Vault.RotateData", func(ctx context.Context, c *client.Client) (any, error) { return c.Vault().RotateData(ctx) }, "POST /v1/keyring/rotate-data", ""},
	{"TransferLeadership", func(ctx context.Context, c *client.Client) (any, error) { return c.TransferLeadership(ctx, "") },
		"POST /v1/cluster/transfer-leadership", `{}`},
	{"TransferLeadership", func(ctx context.Context, c *client.Client) (any, error) { return c.TransferLeadership(ctx, "n2") },
		"POST /v1/cluster/transfer-leadership", `{"to":"n2"}`},
	{"RemoveNode", func(ctx context.Context, c *client.Client) (any, error) { return c.RemoveNode(ctx, "n/2") }, "DELETE /v1/cluster/nodes/n%2F2", ""},
	{"RemoveNode", func(ctx context.Context, c *client.Client) (any, error) {
		return c.RemoveNode(ctx, "n2", client.Force())
	}, "DELETE /v1/cluster/nodes/n2?force=true", ""},
	{"Livez", func(ctx context.Context, c *client.Client) (any, error) { return c.Livez(ctx) }, "GET /livez", ""},
}

// streamCalls are the calls whose answers are copied.
var streamCalls = []struct {
	name string
	do   func(ctx context.Context, c *client.Client, w io.Writer) error
	line string
}{
	{"AuditLogs", func(ctx context.Context, c *client.Client, w io.Writer) error {
		return c.AuditLogs(ctx, client.AuditQuery{}, w)
	}, "GET /v1/audit-logs"},
	{"AuditLogs", func(ctx context.Context, c *client.Client, w io.Writer) error {
		return c.AuditLogs(ctx, client.AuditQuery{StartDate: "2027-01-01", EndDate: "2027-01-31", Key: "key_1", EventType: "create", User: "u",
			Action: "key.create", Outcome: "success", Format: "csv", BOM: true, Page: client.Page{Limit: 3, Cursor: "c"}}, w)
	}, "GET /v1/audit-logs?action=key.create&bom=true&cursor=c&end_date=2027-01-31&event_type=create&format=csv&key=key_1&limit=3&outcome=success&start_date=2027-01-01&user=u"},
	{"AuditLogs", func(ctx context.Context, c *client.Client, w io.Writer) error {
		return c.AuditLogs(ctx, client.AuditQuery{Order: "asc"}, w)
	}, "GET /v1/audit-logs?order=asc"},
	{"Erasures.Export", func(ctx context.Context, c *client.Client, w io.Writer) error {
		return client.Erasures{Client: c}.Export(ctx, w)
	}, "GET /v1/account/data"},
	{"Backup", func(ctx context.Context, c *client.Client, w io.Writer) error { return c.Backup(ctx, w) }, "GET /v1/backup"},
	{"SecurityTxt", func(ctx context.Context, c *client.Client, w io.Writer) error { return c.SecurityTxt(ctx, w) }, "GET /.well-known/security.txt"},
	{"OpenAPI", func(ctx context.Context, c *client.Client, w io.Writer) error { return c.OpenAPI(ctx, w) }, "GET /openapi.yaml"},
	{"Metrics", func(ctx context.Context, c *client.Client, w io.Writer) error { return c.Metrics(ctx, w) }, "GET /metrics"},
}

func allCalls() []apiCall {
	return slices.Concat(keyCalls, accountCalls, nodeCalls, peopleCalls)
}

// anyAnswer has the members of the answers to all calls.
const anyAnswer = `{"data":[],"everything":false,"next_cursor":null,"id":"x","requests":1,"denied":0,"from":"2027-01-01T00:00:00Z","failed_authentications":{},"anomalies":[],"truncated":false,"checked":0,"name":"n","state":"active","matched":0,"revoked":0,"ids":[],"valid":true,"code":null,"would_refuse":{},"lowest_limit":{},` +
	`"account":"a","keys":[],"missing":[],"allowed":true,"limit":1,"remaining":1,"reset":1,"entries":[],"tier":"free","live":{},"test":{},"cluster_id":"c","nodes":[],"kek":"k","data_keys":[],"deleted":true,"status":"ok","url":"u","events":[],"webhook_id":"m","queued":1,"title":"t","action":"none",` +
	`"email":"a","role":"owner","session":{},"secret":"s"}`

// Each method makes exactly one request, with the credentials and the account.
func TestCalls(t *testing.T) {
	c, rec := serve(t, answering(200, anyAnswer))
	c.Account, c.Agent = "acct_9", "perfgate/test"
	check := func(name string, err error, line, body string) {
		t.Helper()
		got := rec.take()
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v after %d requests", name, err, len(got))
			return
		}
		line = strings.Replace(line, " ", " /a/prefix", 1)
		if got[0].line != line || got[0].body != body {
			t.Errorf("%s sends\n%s %s\nwant\n%s %s", name, got[0].line, got[0].body, line, body)
		}
		h := got[0].header
		if h.Get("Authorization") != "Bearer pgop_secret" || h.Get("X-Perf-Account") != "acct_9" || h.Get("User-Agent") != "perfgate/test" {
			t.Errorf("%s sends %v", name, h)
		}
		want := ""
		switch {
		case name == "ImportKeys":
			want = "application/x-ndjson"
		case body != "":
			want = "application/json"
		}
		if h.Get("Content-Type") != want {
			t.Errorf("%s sends Content-Type %q", name, h.Get("Content-Type"))
		}
	}
	for _, call := range allCalls() {
		_, err := call.do(t.Context(), c)
		check(call.name, err, call.line, call.body)
	}
	for _, call := range streamCalls {
		var out strings.Builder
		err := call.do(t.Context(), c, &out)
		check(call.name, err, call.line, "")
		if out.String() != anyAnswer {
			t.Errorf("%s copies %q", call.name, out.String())
		}
	}
}

// The tables above contain every method of the client and of its topics, but for the
// iterators and those that other tests are about.
func TestCallsAreComplete(t *testing.T) {
	listed := map[string]bool{"Do": true, "Readyz": true, "Keys": true, "Accounts.All": true, "Events": true, "Accounts": true, "Insight": true, "Tiers": true, "Vault": true, "RevokeLeakedKey": true, "Sessions.OpenLink": true, "Sessions.LinkPage": true, "Sessions.OIDC": true, "Sessions.OIDCCallback": true, "Sessions.SetupPage": true, "Sessions.Setup": true}
	for _, call := range allCalls() {
		listed[call.name] = true
	}
	for _, call := range streamCalls {
		listed[call.name] = true
	}
	for prefix, typ := range map[string]reflect.Type{
		"": reflect.TypeFor[*client.Client](), "Accounts.": reflect.TypeFor[client.Accounts](), "Tiers.": reflect.TypeFor[client.Tiers](),
		"Insight.": reflect.TypeFor[client.Insight](), "Vault.": reflect.TypeFor[client.Vault](),
		"Users.": reflect.TypeFor[client.Users](), "Sessions.": reflect.TypeFor[client.Sessions](),
		"OperatorTokens.": reflect.TypeFor[client.OperatorTokens](), "Trial.": reflect.TypeFor[client.Trial](),
	} {
		for i := range typ.NumMethod() {
			if name := prefix + typ.Method(i).Name; !listed[name] {
				t.Errorf("%s: add it to the tables of calls", name)
			}
		}
	}
}

// Every method reports a fault of the server as such, and repeats nothing.
func TestCallsReportFaults(t *testing.T) {
	c, rec := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fault.Write(w, r, &fault.Error{Code: fault.TooBusy, RetryAfter: 7})
	})
	check := func(name string, err error) {
		t.Helper()
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.TooBusy || f.RetryAfter != 7 {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(rec.take()); n != 1 {
			t.Errorf("%s makes %d requests", name, n)
		}
	}
	for _, call := range allCalls() {
		got, err := call.do(t.Context(), c)
		check(call.name, err)
		if !reflect.ValueOf(got).IsNil() {
			t.Errorf("%s returns %v beside an error", call.name, got)
		}
	}
	for _, call := range streamCalls {
		var out strings.Builder
		check(call.name, call.do(t.Context(), c, &out))
		if out.Len() > 0 {
			t.Errorf("%s copies the fault: %q", call.name, out.String())
		}
	}
}

// Every method that decodes its answer reports one that is cut or foreign, also one in
// JSON.
func TestCallsReportForeignAnswers(t *testing.T) {
	for _, body := range []string{"", "<html>", `{"id":`, "{}", "[]", "null", `{"message":"hello"}`} {
		c, _ := serve(t, answering(200, body))
		for _, call := range allCalls() {
			got, err := call.do(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), "read the answer") || !reflect.ValueOf(got).IsNil() {
				t.Errorf("%s takes %q for an answer: %v, %v", call.name, body, got, err)
			}
			if object := strings.HasSuffix(body, "}"); object && !errors.Is(err, client.ErrForeign) {
				t.Errorf("%s does not call %q foreign: %v", call.name, body, err)
			}
		}
	}
	for name, body := range map[string]string{"ListKeys": "[7]", "Insight.Usage": `[{"time":"2027-01-01T00:00:00Z"}]`, "Accounts.List": `{"id":"x"}`, "Tiers.List": "[null]"} {
		c, _ := serve(t, answering(200, `{"data":`+body+`,"next_cursor":null}`))
		for _, call := range allCalls() {
			if call.name == name {
				if _, err := call.do(t.Context(), c); !errors.Is(err, client.ErrForeign) {
					t.Errorf("%s takes %s for a list: %v", name, body, err)
				}
			}
		}
	}
	// What is streamed has no members to look at; nothing of another type is copied.
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
	for _, call := range streamCalls[:3] {
		var out strings.Builder
		if err := call.do(t.Context(), c, &out); !errors.Is(err, client.ErrForeign) || out.Len() > 0 {
			t.Errorf("%s copies %q: %v", call.name, out.String(), err)
		}
	}
	for _, body := range []string{"", "{}", `{"message":"hello"}`} {
		var out strings.Builder
		c, _ := serve(t, answering(200, body))
		if err := c.AuditLogs(t.Context(), client.AuditQuery{}, &out); !errors.Is(err, client.ErrForeign) || out.Len() > 0 {
			t.Errorf("%q is taken for an audit log: %v after %q", body, err, out.String())
		}
	}
}

// Whatever call fails, and however, its error is the one that Explain made of it.
func TestEveryFailureIsExplained(t *testing.T) {
	explained := errors.New("explained")
	for _, status := range []int{200, 503} { // an answer that is no JSON, and a fault
		c, _ := serve(t, answering(status, "<html>"))
		seen := 0
		c.Explain = func(context.Context, error) error { seen++; return explained }
		for i, call := range allCalls() {
			if _, err := call.do(t.Context(), c); !errors.Is(err, explained) || seen != i+1 {
				t.Errorf("%d: %s: %v after %d calls of Explain", status, call.name, err, seen)
			}
		}
	}
	c, _ := serve(t, answering(503, "<html>"))
	c.Explain = func(context.Context, error) error { return explained }
	for _, call := range streamCalls {
		if err := call.do(t.Context(), c, io.Discard); !errors.Is(err, explained) {
			t.Errorf("%s: %v", call.name, err)
		}
	}
}
