package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestKeyObject(t *testing.T) {
	g := newRig(t)
	a := g.op("POST", "/v1/keys", `{"name":"Production Server","type":"live","environment":"production"}`).want(t, 201)
	want := strings.Fields("account allowlist created_at created_by environment expires_at hint id key last_used_at last_used_ip limits " +
		"max_cost_per_call metadata monthly_budget name replaced_by replaces revoke_reason revoked_at revoked_by rotation_due_at routes scopes state type")
	if got := a.members(); !slices.Equal(got, want) {
		t.Errorf("members\n%v\nwant\n%v", got, want)
	}
	secret := a.text("key")
	if apikey.Parse(secret) != apikey.Native || !strings.HasPrefix(secret, "pk_live_") || a.text("hint") != apikey.Hint(secret) {
		t.Errorf("key %q, hint %q", secret, a.text("hint"))
	}
	if got := fmt.Sprint(a.json["scopes"]); got != "[read write]" || a.text("state") != "active" || a.json["limits"] != nil || a.text("account") != "default" {
		t.Errorf("%s", a.body)
	}
	created, err := time.Parse(time.RFC3339Nano, a.text("created_at"))
	must(t, err)
	due, err := time.Parse(time.RFC3339Nano, a.text("rotation_due_at"))
	must(t, err)
	if due.Sub(created) != 90*24*time.Hour {
		t.Errorf("due %v after", due.Sub(created))
	}
	read := g.op("GET", "/v1/keys/"+a.text("id"), "").want(t, 200)
	if strings.Contains(read.body, secret) || slices.Contains(read.members(), "key") {
		t.Error("the key is shown again")
	}
	if read.header.Get("ETag") != a.header.Get("ETag") || a.header.Get("ETag") == "" {
		t.Errorf("ETag %q after %q", read.header.Get("ETag"), a.header.Get("ETag"))
	}
}

// Everything that can be set comes back as it was, money to the last digit.
func TestKeyRoundTrip(t *testing.T) {
	g := newRig(t)
	c := g.client()
	ctx := context.Background()
	cost, budget := json.Number("0.000000001"), json.Number("1234567.890123456")
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	five := int64(5)
	k, err := c.CreateKey(ctx, client.NewKey{
		Name: "ü", Type: "test", Environment: "staging", Scopes: []string{"write", "custom:x", "read", "read"}, ExpiresAt: &ends,
		Limits: &client.Limits{PerMinute: &five}, MaxCostPerCall: &cost, MonthlyBudget: &budget,
		Allowlist: []string{"203.0.113.7/24", "::ffff:198.51.100.42", "2001:db8::1"}, Routes: []string{"/v1/chat", "GET /v1/x"}, Metadata: map[string]string{"team": "a<b>"},
	})
	must(t, err)
	k, err = c.GetKey(ctx, k.ID)
	must(t, err)
	got := fmt.Sprint(k.Name, k.Type, *k.Environment, k.Scopes, k.ExpiresAt.Equal(ends), *k.Limits.PerMinute, k.Limits.PerMonth == nil, *k.MaxCostPerCall, *k.MonthlyBudget, k.Allowlist, k.Routes, k.Metadata)
	want := fmt.Sprint("ü", "test", "staging", []string{"custom:x", "read", "write"}, true, 5, true, cost, budget,
		[]string{"198.51.100.42", "203.0.113.0/24", "2001:db8::1"}, []string{"/v1/chat", "GET /v1/x"}, map[string]string{"team": "a<b>"})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	k, err = c.UpdateKey(ctx, k.ID, client.Patch{"environment": nil, "expires_at": nil, "limits": nil, "max_cost_per_call": nil, "monthly_budget": nil,
		"allowlist": nil, "routes": nil, "metadata": nil, "state": "disabled", "name": "n2", "scopes": []string{"read"}})
	must(t, err)
	if k.Environment != nil || k.ExpiresAt != nil || k.Limits != nil || k.MaxCostPerCall != nil || k.MonthlyBudget != nil ||
		len(k.Allowlist)+len(k.Routes)+len(k.Metadata) != 0 || k.State != "disabled" || k.Name != "n2" || k.Revocation == nil || !k.Revocation.Effective {
		t.Errorf("%+v", k)
	}
	k, err = c.UpdateKey(ctx, k.ID, client.Patch{"state": "active"})
	must(t, err)
	if k.State != "active" || k.Name != "n2" {
		t.Errorf("%+v", k)
	}
}

// Each line is a body of POST /v1/keys, what it is answered with, and what the
// message names.
func TestCreateRefuses(t *testing.T) {
	g := newRig(t)
	long := strings.Repeat("x", 201)
	for _, c := range []struct {
		body   string
		status int
		code   fault.Code
		names  string
	}{
		{``, 400, fault.InvalidJSON, "empty"},
		{`{`, 400, fault.InvalidJSON, "byte 1"},
		{`{"name":"n","type":"test"} x`, 400, fault.InvalidJSON, "byte 27"},
		{`{"name":"n","type":"test"}{}`, 400, fault.InvalidJSON, "byte 26"},
		{`{"name":"n","type":"test",}`, 400, fault.InvalidJSON, ""},
		{`{"name":"\ud800","type":"test"}`, 400, fault.InvalidJSON, ""},
		{"{\"name\":\"\xff\",\"type\":\"test\"}", 400, fault.InvalidJSON, ""},
		{`{"name":"n","name":"m","type":"test"}`, 400, fault.DuplicateMember, "name"},
		{`{"name":"n","type":"test","metadata":{"a":"1","a":"2"}}`, 400, fault.DuplicateMember, "metadata.a"},
		{`[]`, 422, fault.InvalidValue, "an object"},
		{`null`, 422, fault.InvalidValue, "object"},
		{`"x"`, 422, fault.InvalidValue, "an object"},
		{`{"type":"test"}`, 422, fault.InvalidValue, "name"},
		{`{"name":"n"}`, 422, fault.InvalidValue, "type"},
		{`{"name":null,"type":"test"}`, 422, fault.InvalidValue, "name"},
		{`{"name":"","type":"test"}`, 422, fault.InvalidValue, "name"},
		{`{"name":"  ","type":"test"}`, 422, fault.InvalidValue, "name"},
		{`{"name":"a\u0000b","type":"test"}`, 422, fault.InvalidValue, "name"},
		{`{"name":"` + long + `","type":"test"}`, 422, fault.InvalidValue, "name"},
		{`{"name":5,"type":"test"}`, 422, fault.InvalidValue, "name: want a string"},
		{`{"name":"n","type":"prod"}`, 422, fault.InvalidValue, "type"},
		{`{"name":"n","type":1}`, 422, fault.InvalidValue, "type"},
		{`{"Name":"n","type":"test"}`, 422, fault.UnknownField, "Name"},
		{`{"name":"n","type":"test","limit":{}}`, 422, fault.UnknownField, "limit"},
		{`{"name":"n","type":"test","limits":{"burst":1,"x":1}}`, 422, fault.UnknownField, "limits.x"},
		{`{"name":"n","type":"test","limits":5}`, 422, fault.InvalidValue, "limits: want an object"},
		{`{"name":"n","type":"test","limits":{"requests_per_minute":"5"}}`, 422, fault.InvalidValue, "limits.requests_per_minute"},
		{`{"name":"n","type":"test","limits":{"requests_per_minute":1.5}}`, 422, fault.InvalidValue, "limits.requests_per_minute"},
		{`{"name":"n","type":"test","limits":{"requests_per_minute":0}}`, 422, fault.InvalidValue, "limits.requests_per_minute"},
		{`{"name":"n","type":"test","limits":{"requests_per_month":99999999999999999999}}`, 422, fault.InvalidValue, "limits.requests_per_month"},
		{`{"name":"n","type":"test","limits":{"burst":5}}`, 422, fault.InvalidValue, "limits.burst"},
		{`{"name":"n","type":"test","scopes":[]}`, 422, fault.InvalidValue, "scopes"},
		{`{"name":"n","type":"test","scopes":"read"}`, 422, fault.InvalidValue, "scopes: want an array"},
		{`{"name":"n","type":"test","scopes":["a b"]}`, 422, fault.InvalidValue, "scopes.0"},
		{`{"name":"n","type":"test","scopes":["read","a\"b"]}`, 422, fault.InvalidValue, "scopes.1"},
		{`{"name":"n","type":"test","expires_at":"2020-01-01T00:00:00Z"}`, 422, fault.InvalidValue, "expires_at"},
		{`{"name":"n","type":"test","expires_at":"tomorrow"}`, 422, fault.InvalidValue, "expires_at"},
		{`{"name":"n","type":"test","expires_at":5}`, 422, fault.InvalidValue, "expires_at"},
		{`{"name":"n","type":"test","max_cost_per_call":-1}`, 422, fault.InvalidValue, "max_cost_per_call"},
		{`{"name":"n","type":"test","max_cost_per_call":0}`, 422, fault.InvalidValue, "max_cost_per_call"},
		{`{"name":"n","type":"test","max_cost_per_call":"1"}`, 422, fault.InvalidValue, "max_cost_per_call: want a number"},
		{`{"name":"n","type":"test","max_cost_per_call":{"x":[1,2]}}`, 422, fault.InvalidValue, "max_cost_per_call: want a number"},
		{`{"name":"n","type":"test","monthly_budget":0.0000000001}`, 422, fault.InvalidValue, "monthly_budget"},
		{`{"name":"n","type":"test","monthly_budget":1e99}`, 422, fault.InvalidValue, "monthly_budget"},
		{`{"name":"n","type":"test","allowlist":["203.0.113.0/33","1.2.3.4","nonsense"]}`, 422, fault.InvalidValue, "allowlist.0"},
		{`{"name":"n","type":"test","allowlist":["203.0.113.0/33","1.2.3.4","nonsense"]}`, 422, fault.InvalidValue, "allowlist.2"},
		{`{"name":"n","type":"test","routes":["chat"]}`, 422, fault.InvalidValue, "routes.0"},
		{`{"name":"n","type":"test","routes":["/a b"]}`, 422, fault.InvalidValue, "routes.0"},
		{`{"name":"n","type":"test","metadata":{"a":1}}`, 422, fault.InvalidValue, "metadata.a"},
		{`{"name":"n","type":"test","metadata":["a"]}`, 422, fault.InvalidValue, "metadata"},
		{`{"name":"n","type":"test","environment":"` + long + `"}`, 422, fault.InvalidValue, "environment"},
		{`{"name":"n","type":"test","key":"pk_test_x"}`, 422, fault.UnknownField, "key"},
		{strings.Repeat("[", 50_000), 0, "", ""},
		{`{"name":"n","type":"test","limits":` + strings.Repeat(`{"a":`, 20_000), 0, "", ""},
	} {
		a := g.op("POST", "/v1/keys", c.body, "Content-Type", "application/json")
		show := c.body
		if len(show) > 120 {
			show = show[:120]
		}
		if c.status == 0 {
			if a.status < 400 || a.status > 499 {
				t.Errorf("%s: %d", show, a.status)
			}
			continue
		}
		if a.status != c.status || a.code() != string(c.code) || !strings.Contains(a.message(), c.names) {
			t.Errorf("%s\n\tanswered %d %s %q, want %d %s %q", show, a.status, a.code(), a.message(), c.status, c.code, c.names)
		}
	}
	big := `{"name":"n","type":"test","metadata":{"a":"` + strings.Repeat("x", maxBody) + `"}}`
	g.op("POST", "/v1/keys", big).want(t, 413, fault.BodyTooLarge)
	g.op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Content-Type", "text/plain").want(t, 415, fault.UnsupportedMediaType)
	g.op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Content-Type", "application/json; charset=utf-8").want(t, 201)
	g.op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Content-Encoding", "gzip").want(t, 415)
	g.op("GET", "/v1/keys", "").want(t, 200)
	if n := g.backend.proposed.Load(); n != 1 {
		t.Errorf("%d commands were proposed, want 1", n)
	}
}

func TestRotation(t *testing.T) {
	g := newRig(t)
	live, secret := g.key("live", "read", "admin")
	a := g.op("POST", "/v1/keys/"+live+"/rotate", "").want(t, 201)
	if a.text("replaces") != live || !strings.HasPrefix(a.text("key"), "pk_live_") || a.text("key") == secret || a.json["revocation"] == nil {
		t.Errorf("%s", a.body)
	}
	old := g.op("GET", "/v1/keys/"+live, "").want(t, 200)
	if old.text("state") != "rotating" || old.text("replaced_by") != a.text("id") {
		t.Errorf("%s", old.body)
	}
	g.do(g.admin.URL, "GET", "/v1/keys", secret, "").want(t, 200)
	g.now.Add(int64(24*time.Hour - time.Minute))
	g.do(g.admin.URL, "GET", "/v1/keys", secret, "").want(t, 200)
	g.now.Add(int64(2 * time.Minute))
	g.do(g.admin.URL, "GET", "/v1/keys", secret, "").want(t, 401, fault.KeyRevoked)
	if old = g.op("GET", "/v1/keys/"+live, ""); old.text("state") != "revoked" || old.text("revoked_at") == "" || old.text("revoke_reason") != "rotated" {
		t.Errorf("%s", old.body)
	}
	test, testSecret := g.key("test", "admin")
	g.op("POST", "/v1/keys/"+test+"/rotate", "{}").want(t, 201)
	g.do(g.admin.URL, "GET", "/v1/keys", testSecret, "").want(t, 401, fault.KeyRevoked)
	again, _ := g.key("live", "read")
	for _, bad := range []string{`{"overlap":"1d"}`, `{"overlap":"-1h"}`, `{"overlap":"721h"}`, `{"overlap":""}`, `{"overlap":5}`} {
		if a := g.op("POST", "/v1/keys/"+again+"/rotate", bad).want(t, 422, fault.InvalidValue); !strings.Contains(a.message(), "overlap") {
			t.Errorf("%s: %s", bad, a.message())
		}
	}
	g.op("POST", "/v1/keys/"+again+"/rotate", `{"overlap":"720h"}`).want(t, 201)
	g.op("POST", "/v1/keys/"+test+"/rotate", "").want(t, 409, fault.Conflict)
	g.op("POST", "/v1/keys/key_nothing/rotate", "").want(t, 404, fault.NotFound)
}

func TestRevocation(t *testing.T) {
	g := newRig(t)
	id, secret := g.key("live", "admin")
	a := g.op("POST", "/v1/keys/"+id+"/revoke", `{"reason":"leaked"}`).want(t, 200)
	if a.text("state") != "revoked" || a.text("revoke_reason") != "leaked" || a.text("revoked_by") == "" || a.json["revocation"] == nil {
		t.Errorf("%s", a.body)
	}
	g.do(g.admin.URL, "GET", "/v1/keys", secret, "").want(t, 401, fault.KeyRevoked)
	again := g.op("POST", "/v1/keys/"+id+"/revoke", "").want(t, 200)
	if again.text("revoke_reason") != "leaked" || again.text("revoked_at") != a.text("revoked_at") {
		t.Errorf("revoked twice: %s", again.body)
	}
	g.op("PATCH", "/v1/keys/"+id, `{"state":"active"}`).want(t, 409, fault.Conflict)
	g.op("POST", "/v1/keys/key_nothing/revoke", "").want(t, 404, fault.NotFound)

	g.backend.partial = true
	id, _ = g.key("live", "read")
	a = g.op("POST", "/v1/keys/"+id+"/revoke", "").want(t, 202)
	if !strings.Contains(a.body, `"effective":false`) || !strings.Contains(a.body, `"unconfirmed"`) {
		t.Errorf("%s", a.body)
	}
	a = g.op("POST", "/v1/keys/"+id+"/rotate", "").want(t, 409)
	id, _ = g.key("test", "read")
	g.op("POST", "/v1/keys/"+id+"/rotate", "").want(t, 202)
	g.op("PUT", "/v1/allowlist", `{"entries":[]}`).want(t, 202)
	g.op("POST", "/v1/keys/revoke", `{"type":"test"}`).want(t, 202)
}

func TestBulkRevocation(t *testing.T) {
	g := newRig(t)
	c := g.client()
	ctx := context.Background()
	var ids []string
	for i := range 6 {
		k, err := c.CreateKey(ctx, client.NewKey{Name: "k", Type: []string{"test", "live"}[i%2], Environment: []string{"a", "b", "c"}[i%3]})
		must(t, err)
		ids = append(ids, k.ID)
	}
	env, kind := "a", "live"
	dry, err := c.RevokeKeys(ctx, client.BulkRevocation{Environment: &env, DryRun: true})
	must(t, err)
	if dry.Matched != 2 || dry.Revoked != 0 || !dry.DryRun || !slices.Equal(dry.IDs, []string{ids[0], ids[3]}) || dry.Revocation != nil {
		t.Errorf("%+v", dry)
	}
	done, err := c.RevokeKeys(ctx, client.BulkRevocation{Environment: &env, Type: &kind})
	must(t, err)
	if done.Matched != 1 || done.Revoked != 1 || !slices.Equal(done.IDs, []string{ids[3]}) || done.Revocation == nil {
		t.Errorf("%+v", done)
	}
	done, err = c.RevokeKeys(ctx, client.BulkRevocation{IDs: append(ids, "key_unknown")})
	must(t, err)
	if done.Matched != 6 || done.Revoked != 5 {
		t.Errorf("%+v", done)
	}
	for _, bad := range []string{`{}`, `{"reason":"x"}`, `{"ids":[]}`, `{"created_by":""}`, `{"dry_run":true}`, `{"ids":"x"}`, `{"created_before":"x"}`, `{"ids":["x"],"all":true}`} {
		g.op("POST", "/v1/keys/revoke", bad).want(t, 422)
	}
}

func TestImport(t *testing.T) {
	g := newRig(t)
	lines := strings.Join([]string{
		`{"name":"a","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`,
		``,
		`{"name":"b","type":"test","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0bd82cd15d6c15b0f00a08","scopes":["admin"]}`,
		`{"name":"c","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`,
		`{"name":"d","type":"live"}`,
		`{"name":"e","type":"live","key":"x","sha256":"y"}`,
		`{"name":"f","type":"live","key":"short"}`,
		`{"name":"g","type":"live","key":"pk_test_0123456789ABCDEFGHIJKLMNOPQRSTUV000000"}`,
		`{"name":"h","type":"live","sha256":"zz"}`,
		`not json`,
		`{"name":"i","type":"live","key":"sk-live-bbbbbbbbbbbbbbbb","colour":"red"}`,
		`{"name":"j","type":"live","key":"sk-live-admin-aaaaaaaaaaaa","scopes":["admin"]}`,
	}, "\r\n")
	a := g.op("POST", "/v1/keys/import", lines, "Content-Type", "application/x-ndjson", "Idempotency-Key", "import-1").want(t, 200)
	var out struct {
		Data []importedLine
	}
	must(t, json.Unmarshal([]byte(a.body), &out))
	var got []string
	for _, l := range out.Data {
		code := ""
		if l.Error != nil {
			code = string(l.Error.Code)
		}
		got = append(got, fmt.Sprintf("%d %v %s", l.Line, l.ID != nil, code))
	}
	want := []string{"1 true ", "3 true ", "4 false conflict", "5 false invalid_value", "6 false invalid_value", "7 false invalid_value",
		"8 false invalid_value", "9 false invalid_value", "10 false invalid_json", "11 false unknown_field", "12 true "}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	g.do(g.admin.URL, "GET", "/v1/keys", "sk-live-admin-aaaaaaaaaaaa", "").want(t, 200)
	g.op("POST", "/v1/keys/verify", `{"key":"sk-live-aaaaaaaaaaaaaaaa"}`).want(t, 200)
	repeat := g.op("POST", "/v1/keys/import", lines, "Content-Type", "application/x-ndjson", "Idempotency-Key", "import-1").want(t, 200)
	if repeat.body != a.body {
		t.Errorf("the repeat answers\n%s\nnot\n%s", repeat.body, a.body)
	}
	again := g.op("POST", "/v1/keys/import", `{"name":"a","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`).want(t, 200)
	if !strings.Contains(again.body, `"conflict"`) {
		t.Errorf("%s", again.body)
	}
	g.op("POST", "/v1/keys/import", "\n\n").want(t, 400, fault.InvalidJSON)
	g.op("POST", "/v1/keys/import", strings.Repeat("{}\n", maxImportLines+1)).want(t, 422, fault.InvalidValue)
	g.op("POST", "/v1/keys/import", strings.Repeat(" ", maxImportBody+1)).want(t, 413, fault.BodyTooLarge)
	for _, secret := range []string{"sk-live-aaaaaaaaaaaaaaaa", "sk-live-admin"} {
		if strings.Contains(a.body+again.body+g.log.String(), secret) {
			t.Errorf("%s is shown", secret)
		}
	}
}

func TestIdempotency(t *testing.T) {
	g := newRig(t)
	body := `{"name":"n","type":"live"}`
	first := g.op("POST", "/v1/keys", body, "Idempotency-Key", "k1").want(t, 201)
	again := g.op("POST", "/v1/keys", body, "Idempotency-Key", "k1").want(t, 200)
	if again.text("id") != first.text("id") || again.json["secret_withheld"] != true || strings.Contains(again.body, first.text("key")) {
		t.Errorf("%s", again.body)
	}
	if v, there := again.json["key"]; !there || v != nil {
		t.Errorf("key is %v", v)
	}
	g.op("POST", "/v1/keys", `{"name":"n", "type":"live"}`, "Idempotency-Key", "k1").want(t, 422, fault.IdempotencyMismatch)
	// Another caller, account, path or key is another call.
	_, admin := g.key("live", "admin")
	if a := g.do(g.admin.URL, "POST", "/v1/keys", admin, body, "Idempotency-Key", "k1").want(t, 201); a.text("id") == first.text("id") {
		t.Error("two callers share a result")
	}
	acct := g.op("POST", "/v1/accounts", `{"name":"other"}`, "Idempotency-Key", "k1").want(t, 201)
	g.op("POST", "/v1/keys", body, "Idempotency-Key", "k1", AccountHeader, acct.text("id")).want(t, 201)
	g.op("POST", "/v1/accounts", `{"name":"other"}`, "Idempotency-Key", "k1").want(t, 200)
	for _, bad := range []string{strings.Repeat("x", 256), "a b", "ü"} {
		g.op("POST", "/v1/keys", body, "Idempotency-Key", bad).want(t, 400, fault.InvalidRequest)
	}
	g.op("POST", "/v1/keys", body, "Idempotency-Key", strings.Repeat("x", 255)).want(t, 201)
	// A refusal is not remembered.
	g.op("POST", "/v1/tiers", `{"name":"pro","live":{},"test":{}}`, "Idempotency-Key", "t").want(t, 409)
	g.op("POST", "/v1/tiers", `{"name":"pro2","live":{},"test":{}}`, "Idempotency-Key", "t").want(t, 201)
	// Rotation: the repeat finds the new key although the old one is rotating by now.
	r1 := g.op("POST", "/v1/keys/"+first.text("id")+"/rotate", "", "Idempotency-Key", "r").want(t, 201)
	r2 := g.op("POST", "/v1/keys/"+first.text("id")+"/rotate", "", "Idempotency-Key", "r").want(t, 200)
	if r1.text("id") != r2.text("id") || r2.json["key"] != nil {
		t.Errorf("%s", r2.body)
	}
	g.now.Add(int64(24*time.Hour + time.Second))
	if a := g.op("POST", "/v1/keys", body, "Idempotency-Key", "k1").want(t, 201); a.text("id") == first.text("id") {
		t.Error("the result outlives its day")
	}
}

func TestIdempotencyWhileInProgress(t *testing.T) {
	g := newRig(t)
	g.backend.hold, g.backend.held = make(chan struct{}), make(chan struct{}, 1)
	body := `{"name":"n","type":"live"}`
	var wg sync.WaitGroup
	wg.Go(func() { g.op("POST", "/v1/keys", body, "Idempotency-Key", "k") })
	select {
	case <-g.backend.held:
	case <-time.After(10 * time.Second):
		t.Fatal("the first call was not proposed within 10 s")
	}
	a := g.op("POST", "/v1/keys", body, "Idempotency-Key", "k").want(t, 409, fault.IdempotencyInProgress)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(g.backend.hold)
	wg.Wait()
	g.op("POST", "/v1/keys", body, "Idempotency-Key", "k").want(t, 200)
}

func TestETags(t *testing.T) {
	g := newRig(t)
	id, _ := g.key("live", "read")
	path := "/v1/keys/" + id
	tag := g.op("GET", path, "").header.Get("ETag")
	patch := func(match string) answer { return g.op("PATCH", path, `{"name":"m"}`, "If-Match", match) }
	for _, m := range []string{`"1"`, `"999999"`, "W/" + tag, `"x"`, `"0"`, `"1", "999"`} {
		patch(m).want(t, 412, fault.PreconditionFailed)
	}
	for _, m := range []string{"5", `"5`, `x"5"`} {
		patch(m).want(t, 400, fault.InvalidRequest)
	}
	a := patch(tag).want(t, 200)
	if a.header.Get("ETag") == tag {
		t.Error("the ETag stays after a change")
	}
	patch(tag).want(t, 412)
	patch("*").want(t, 200)
	tag = g.op("GET", path, "").header.Get("ETag")
	patch(`"1", `+tag+`, W/"3"`).want(t, 200)
	tag = g.op("GET", "/v1/account", "").header.Get("ETag")
	g.op("PATCH", "/v1/account", `{"name":"x"}`, "If-Match", `"1", `+tag).want(t, 200)
	g.op("PATCH", "/v1/account", `{"name":"y"}`, "If-Match", tag).want(t, 412)
	tag = g.op("GET", "/v1/allowlist", "").header.Get("ETag")
	g.op("PUT", "/v1/allowlist", `{"entries":[]}`, "If-Match", tag).want(t, 200)
	g.op("PUT", "/v1/allowlist", `{"entries":[]}`, "If-Match", tag).want(t, 412)
	tag = g.op("GET", "/v1/tiers/pro", "").header.Get("ETag")
	g.op("PATCH", "/v1/tiers/pro", `{"features":{"ip_allowlist":true}}`, "If-Match", tag).want(t, 200)
	g.op("PATCH", "/v1/tiers/pro", `{"features":{"ip_allowlist":true}}`, "If-Match", tag).want(t, 412)
	g.op("POST", path+"/revoke", "", "If-Match", `"1"`).want(t, 412)
}

func TestCursors(t *testing.T) {
	g := newRig(t)
	var want []string
	for range 7 {
		id, _ := g.key("test", "read")
		want = append(want, id)
	}
	var got []string
	for k, err := range g.client().Keys(context.Background(), client.KeyFilter{Page: client.Page{Limit: 2}}) {
		must(t, err)
		got = append(got, k.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	cursor := g.op("GET", "/v1/keys?limit=2", "").text("next_cursor")
	flipped := []byte(cursor)
	flipped[3] ^= 1
	for _, q := range []string{"cursor=x", "cursor=" + string(flipped), "cursor=" + cursor[:len(cursor)-2], "type=test&cursor=" + cursor, "cursor=%20"} {
		g.op("GET", "/v1/keys?"+q, "").want(t, 400, fault.InvalidCursor)
	}
	g.op("GET", "/v1/accounts?cursor="+cursor, "").want(t, 400, fault.InvalidCursor)
	g.op("GET", "/v1/keys?limit=1000&cursor="+cursor, "").want(t, 200)
	acct := g.op("POST", "/v1/accounts", `{"name":"other"}`).want(t, 201).text("id")
	g.op("GET", "/v1/keys?cursor="+cursor, "", AccountHeader, acct).want(t, 400, fault.InvalidCursor)
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "limit=", "limit=1&limit=2", "state=gone", "type=TEST", "colour=red", "a b=1"} {
		if a := g.op("GET", "/v1/keys?"+strings.ReplaceAll(q, " ", "%20"), ""); a.status != 422 {
			t.Errorf("%s: %d", q, a.status)
		}
	}
	g.op("GET", "/v1/keys?limit=1;type=test", "").want(t, 400, fault.InvalidRequest)
	for q, n := range map[string]int{"type=live": 0, "state=active": 7, "environment=": 7, "environment=x": 0, "name=test%20key": 7, "created_by=nobody": 0} {
		a := g.op("GET", "/v1/keys?"+q, "").want(t, 200)
		if data := a.json["data"].([]any); len(data) != n || a.json["next_cursor"] != nil {
			t.Errorf("%s: %d keys", q, len(data))
		}
	}
}

// BenchmarkCreateKey is everything of a creation but the log: HTTP, decoding,
// apply without a sync, answer.
func BenchmarkCreateKey(b *testing.B) {
	g := newRig(b)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, _ := http.NewRequest("POST", g.admin.URL+"/v1/keys", strings.NewReader(`{"name":"Production Server","type":"live"}`))
			r.Header.Set("Authorization", "Bearer "+operatorToken)
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil || resp.StatusCode != 201 {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}

// Bounds are in characters; the store's own, in bytes, hold as many of any script.
func TestLongTextsOfAnyScript(t *testing.T) {
	g := newRig(t)
	word := func(n int) string { return strings.Repeat("𝕏", n) }
	a := g.op("POST", "/v1/keys", `{"name":"`+word(maxName)+`","type":"live","environment":"`+word(maxEnvironment)+
		`","metadata":{"`+word(maxMetaName)+`":"`+word(maxMetaValue)+`"}}`).want(t, 201)
	g.op("POST", "/v1/keys/"+a.text("id")+"/revoke", `{"reason":"`+word(maxReason)+`"}`).want(t, 200)
	g.op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"192.0.2.1","note":"`+word(maxNote)+`"}]}`).want(t, 200)
	g.op("POST", "/v1/accounts", `{"name":"`+word(maxName)+`","region":"`+word(maxRegion)+`"}`).want(t, 201)
}
