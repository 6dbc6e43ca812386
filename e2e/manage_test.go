package e2e

import (
	"strings"
	"testing"
	"time"
)

// A node that nothing was ever charged on begins with full buckets.
func TestFreshBucketsAreFull(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	began := time.Now()
	for i, left := range []float64{1, 0} {
		r := s.manage(200, "POST", "/v1/ratelimit", map[string]any{"identifier": "user_1", "limit": 2, "window": "60s"})
		if r.At("allowed") != true || r.Num("remaining") != left || r.At("retry_after") != nil {
			t.Errorf("call %d: %s", i+1, r.Raw)
		}
	}
	r := s.manage(200, "POST", "/v1/ratelimit", map[string]any{"identifier": "user_1", "limit": 2, "window": "60s"})
	if r.At("allowed") != false || r.Num("retry_after") < 29-time.Since(began).Seconds() || r.Num("retry_after") > 30 {
		t.Errorf("third call: %s", r.Raw)
	}
	key, _ := s.create(nil)
	if r := do(t, "GET", s.proxy+"/x", as(key), nil); r.Header.Get("X-RateLimit-Remaining") != "59" {
		t.Errorf("first request of the account: %v", r.Header)
	}
}

// The allowlist's guards come in the order in which they help: a feature that the
// tier lacks, then a list that would shut the caller out.
func TestAllowlistGuards(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	admin, _ := s.create(map[string]any{"scopes": []string{"admin"}})
	elsewhere := map[string]any{"entries": []any{map[string]any{"cidr": "203.0.113.0/24", "note": "office"}}}
	put := func(query string, h header, body any) *reply {
		return do(t, "PUT", s.proxy+"/v1/allowlist"+query, as(admin, h), body)
	}
	if r := put("", nil, elsewhere); r.StatusCode != 403 || r.Code() != "feature_not_in_tier" {
		t.Errorf("in the free tier: %s", r.Raw)
	}
	s.roomy()
	if r := put("", nil, elsewhere); r.StatusCode != 409 || r.Code() != "would_lock_out" {
		t.Errorf("without the caller: %s", r.Raw)
	}
	// A list as curl --data-binary sends it.
	form := header{"Content-Type": "application/x-www-form-urlencoded"}
	if r := put("", form, "127.0.0.1 # here\n203.0.113.0/24\n"); r.StatusCode != 200 {
		t.Errorf("text without a type of its own: %s", r.Raw)
	}
	if r := put("", form, "nonsense\n127.0.0.1\n300.1.1.1\n"); r.StatusCode != 422 ||
		!strings.Contains(r.Str("error", "message"), "line 1") || !strings.Contains(r.Str("error", "message"), "line 3") {
		t.Errorf("bad lines: %s", r.Raw)
	}
	elsewhere["force"] = true
	if r := put("", nil, elsewhere); r.StatusCode != 200 {
		t.Errorf("forced in the body: %s", r.Raw)
	}
	if r := do(t, "GET", s.admin+"/v1/keys", as(admin), nil); r.StatusCode != 403 || r.Code() != "ip_not_allowed" {
		t.Errorf("the list does not bind the admin listener: %s", r.Raw)
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
			t.Errorf("%s %s: %s %s, want %d", c.contentType, c.body, r.Status, r.Raw, c.status)
		}
	}
}

// Every tier shows the limits that its keys get.
func TestTiersShowTheTable(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	want := map[string][4]float64{
		"free": {60, 1000, 30, 1000}, "pro": {300, 100_000, 150, 100_000}, "enterprise": {3000, 10_000_000, 1500, 10_000_000}}
	for _, v := range s.manage(200, "GET", "/v1/tiers", nil).At("data").([]any) {
		tier := &reply{JSON: v.(map[string]any)}
		got := [4]float64{tier.Num("live", "requests_per_minute"), tier.Num("live", "requests_per_month"),
			tier.Num("test", "requests_per_minute"), tier.Num("test", "requests_per_month")}
		if got != want[tier.Str("name")] {
			t.Errorf("%s: %v", tier.Str("name"), got)
		}
		delete(want, tier.Str("name"))
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}

// Events all have the same members, and name the actor, known or not.
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
		"account.read":   {"key", id, "ci"},
		"allowlist.read": {nil, nil, nil},
		"usage.read":     {nil, nil, "pk_live_0123…STUV"},
	}
	waitFor(t, "the events", func() bool {
		return len(s.manage(200, "GET", "/v1/audit-logs?action=usage.read", nil).At("data").([]any)) > 0
	})
	for _, v := range s.manage(200, "GET", "/v1/audit-logs", nil).At("data").([]any) {
		e := &reply{JSON: v.(map[string]any)}
		for _, name := range []string{"id", "seq", "time", "event_type", "action", "actor", "account", "key_id", "target",
			"outcome", "reason", "ip", "country", "user_agent", "request", "changes", "hash"} {
			if _, ok := e.JSON[name]; !ok {
				t.Errorf("%s has no %s", e.Str("action"), name)
			}
		}
		w, ok := want[e.Str("action")]
		if !ok {
			continue
		}
		delete(want, e.Str("action"))
		got := who{e.At("actor", "type"), e.At("actor", "id"), e.At("actor", "name")}
		if got.actor == "operator" && strings.HasPrefix(e.Str("actor", "id"), "op_") {
			got.id = nil
		}
		if got != w {
			t.Errorf("%s: %v, want %v", e.Str("action"), got, w)
		}
	}
	if len(want) != 0 {
		t.Errorf("no events of %v", want)
	}
}
