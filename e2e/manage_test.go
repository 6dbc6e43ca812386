package e2e

import (
	"strings"
	"testing"
)

// A node that nothing was ever charged on begins with full buckets.
func TestFreshBucketsAreFull(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	for i, left := range []float64{1, 0} {
		r := s.manage(200, "POST", "/v1/ratelimit", map[string]any{"identifier": "user_1", "limit": 2, "window": "60s"})
		if r.at("allowed") != true || r.num("remaining") != left || r.at("retry_after") != nil {
			t.Errorf("call %d: %s", i+1, r.raw)
		}
	}
	r := s.manage(200, "POST", "/v1/ratelimit", map[string]any{"identifier": "user_1", "limit": 2, "window": "60s"})
	if r.at("allowed") != false || r.num("retry_after") < 29 || r.num("retry_after") > 30 {
		t.Errorf("third call: %s", r.raw)
	}
	key, _ := s.create(nil)
	if r := do(t, "GET", s.proxy+"/x", as(key), nil); r.Header.Get("X-RateLimit-Remaining") != "59" {
		t.Errorf("first request of the account: %v", r.Header)
	}
}

// The allowlist's guards come in the order in which they help: what the tier
// lacks, then what would shut the caller out.
func TestAllowlistGuards(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	admin, _ := s.create(map[string]any{"scopes": []string{"admin"}})
	elsewhere := map[string]any{"entries": []any{map[string]any{"cidr": "203.0.113.0/24", "note": "office"}}}
	put := func(query string, h header, body any) *reply {
		return do(t, "PUT", s.proxy+"/v1/allowlist"+query, as(admin, h), body)
	}
	if r := put("", nil, elsewhere); r.StatusCode != 403 || r.code() != "feature_not_in_tier" {
		t.Errorf("in the free tier: %s", r.raw)
	}
	s.roomy()
	if r := put("", nil, elsewhere); r.StatusCode != 409 || r.code() != "would_lock_out" {
		t.Errorf("without the caller: %s", r.raw)
	}
	// A list as curl --data-binary sends it.
	form := header{"Content-Type": "application/x-www-form-urlencoded"}
	if r := put("", form, "127.0.0.1 # here\n203.0.113.0/24\n"); r.StatusCode != 200 {
		t.Errorf("text without a type of its own: %s", r.raw)
	}
	if r := put("", form, "nonsense\n127.0.0.1\n300.1.1.1\n"); r.StatusCode != 422 ||
		!strings.Contains(r.str("error", "message"), "line 1") || !strings.Contains(r.str("error", "message"), "line 3") {
		t.Errorf("bad lines: %s", r.raw)
	}
	elsewhere["force"] = true
	if r := put("", nil, elsewhere); r.StatusCode != 200 {
		t.Errorf("forced in the body: %s", r.raw)
	}
	if r := do(t, "GET", s.admin+"/v1/keys", as(admin), nil); r.StatusCode != 403 || r.code() != "ip_not_allowed" {
		t.Errorf("the list does not bind the admin listener: %s", r.raw)
	}
}

// `curl -d '{…}'` says that it sends a form.
func TestBodiesAsCurlSendsThem(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	for _, c := range []struct {
		contentType, body string
		status            int
	}{
		{"application/x-www-form-urlencoded", `{"name":"n","type":"live"}`, 201},
		{"application/json; charset=utf-8", `{"name":"n","type":"live"}`, 201},
		{"application/x-www-form-urlencoded", `name=n&type=live`, 400},
		{"multipart/form-data; boundary=x", `{"name":"n","type":"live"}`, 415},
		{"text/plain", `{"name":"n","type":"live"}`, 415},
	} {
		r := do(t, "POST", s.admin+"/v1/keys", as(s.operator, header{"Content-Type": c.contentType}), c.body)
		if r.StatusCode != c.status {
			t.Errorf("%s %s: %s %s, want %d", c.contentType, c.body, r.Status, r.raw, c.status)
		}
	}
}

// Every tier shows the limits that its keys get.
func TestTiersShowTheTable(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	want := map[string][4]float64{
		"free": {60, 1000, 30, 1000}, "pro": {300, 100_000, 150, 100_000}, "enterprise": {3000, 10_000_000, 1500, 10_000_000}}
	for _, v := range s.manage(200, "GET", "/v1/tiers", nil).at("data").([]any) {
		tier := &reply{json: v.(map[string]any)}
		got := [4]float64{tier.num("live", "requests_per_minute"), tier.num("live", "requests_per_month"),
			tier.num("test", "requests_per_minute"), tier.num("test", "requests_per_month")}
		if got != want[tier.str("name")] {
			t.Errorf("%s: %v", tier.str("name"), got)
		}
		delete(want, tier.str("name"))
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}

// Events all have the same members, and tell who acted and who was not known.
func TestAuditActors(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	admin, id := s.create(map[string]any{"name": "ci", "scopes": []string{"admin"}})
	const unknown = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	s.manage(200, "GET", "/v1/tiers", nil)
	do(t, "GET", s.proxy+"/v1/account", as(admin), nil)
	do(t, "GET", s.proxy+"/v1/allowlist", nil, nil)
	do(t, "GET", s.proxy+"/v1/usage", as(unknown), nil)

	type who struct{ actor, id, name any }
	want := map[string]who{
		"key.create":     {"operator", nil, nil}, // its id is checked below
		"tier.list":      {"operator", nil, nil},
		"account.read":   {"key", id, nil},
		"allowlist.read": {nil, nil, nil},
		"usage.read":     {nil, nil, "pk_live_0123…STUV"},
	}
	waitFor(t, "the events", func() bool {
		return len(s.manage(200, "GET", "/v1/audit-logs?action=usage.read", nil).at("data").([]any)) > 0
	})
	for _, v := range s.manage(200, "GET", "/v1/audit-logs", nil).at("data").([]any) {
		e := &reply{json: v.(map[string]any)}
		for _, name := range []string{"id", "seq", "time", "event_type", "action", "actor", "account", "key_id", "target",
			"outcome", "reason", "ip", "country", "user_agent", "request", "changes", "hash"} {
			if _, ok := e.json[name]; !ok {
				t.Errorf("%s has no %s", e.str("action"), name)
			}
		}
		w, ok := want[e.str("action")]
		if !ok {
			continue
		}
		delete(want, e.str("action"))
		got := who{e.at("actor", "type"), e.at("actor", "id"), e.at("actor", "name")}
		if got.actor == "operator" && strings.HasPrefix(e.str("actor", "id"), "op_") {
			got.id = nil
		}
		if got != w {
			t.Errorf("%s: %v, want %v", e.str("action"), got, w)
		}
	}
	if len(want) != 0 {
		t.Errorf("no events of %v", want)
	}
}
