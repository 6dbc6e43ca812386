package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestAllowlist(t *testing.T) {
	g := newRig(t)
	text := "# offices\r\n203.0.113.0/24 # Berlin\n\n  198.51.100.42\t#home\n::ffff:192.0.2.1\n203.0.113.7/24 # again\n2001:db8::/32\n"
	a := g.op("PUT", "/v1/allowlist", text, "Content-Type", "text/plain; charset=utf-8").want(t, 200)
	want := []any{
		map[string]any{"cidr": "203.0.113.0/24", "note": "Berlin"}, map[string]any{"cidr": "198.51.100.42", "note": "home"},
		map[string]any{"cidr": "192.0.2.1", "note": ""}, map[string]any{"cidr": "2001:db8::/32", "note": ""},
	}
	if fmt.Sprint(a.json["entries"]) != fmt.Sprint(want) || a.json["revocation"] == nil {
		t.Errorf("%s", a.body)
	}
	get := g.op("GET", "/v1/allowlist", "").want(t, 200)
	if fmt.Sprint(get.json["entries"]) != fmt.Sprint(want) || get.header.Get("ETag") != a.header.Get("ETag") {
		t.Errorf("%s", get.body)
	}
	plain := g.op("GET", "/v1/allowlist", "", "Accept", "text/plain").want(t, 200)
	if plain.body != "203.0.113.0/24 # Berlin\n198.51.100.42 # home\n192.0.2.1\n2001:db8::/32\n" {
		t.Errorf("%q", plain.body)
	}
	g.op("PUT", "/v1/allowlist", plain.body, "Content-Type", "text/plain").want(t, 200)
	if again := g.op("GET", "/v1/allowlist", ""); fmt.Sprint(again.json["entries"]) != fmt.Sprint(want) {
		t.Errorf("what is shown as text reads as %s", again.body)
	}
	for accept, ct := range map[string]string{"text/plain;q=0, */*": "application/json", "application/json, text/plain": "application/json", "text/html, text/plain": "text/plain; charset=utf-8"} {
		if got := g.op("GET", "/v1/allowlist", "", "Accept", accept).header.Get("Content-Type"); got != ct {
			t.Errorf("Accept %q: %s", accept, got)
		}
	}
	a = g.op("PUT", "/v1/allowlist", "10.0.0.0/8\nnonsense\n# fine\n1.2.3.4/33\nfe80::1%eth0\n", "Content-Type", "text/plain").want(t, 422, fault.InvalidValue)
	for _, name := range []string{`line 2: "nonsense"`, `line 4: "1.2.3.4/33"`, "line 5:"} {
		if !strings.Contains(a.message(), name) {
			t.Errorf("%s is not named: %s", name, a.message())
		}
	}
	a = g.op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"10.0.0.0/8"},{"cidr":"x"},{"cidr":"","note":"n"}]}`).want(t, 422, fault.InvalidValue)
	if !strings.Contains(a.message(), "entries.1") || !strings.Contains(a.message(), "entries.2") {
		t.Errorf("%s", a.message())
	}
	a = g.op("PUT", "/v1/allowlist", strings.Repeat("bad\n", 100_000), "Content-Type", "text/plain").want(t, 422)
	if len(a.body) > 60<<10 || !strings.Contains(a.message(), "and 99500 more") {
		t.Errorf("%d bytes: …%s", len(a.body), a.message()[len(a.message())-100:])
	}
	g.op("PUT", "/v1/allowlist", `{}`).want(t, 422, fault.InvalidValue)
	g.op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"10.0.0.0/8","x":1}]}`).want(t, 422, fault.UnknownField)
	g.op("PUT", "/v1/allowlist", "x", "Content-Type", "application/xml").want(t, 415)
	if got := g.op("GET", "/v1/allowlist", ""); fmt.Sprint(got.json["entries"]) != fmt.Sprint(want) {
		t.Error("a refused list changed the list")
	}
}

func TestAllowlistOfManyEntries(t *testing.T) {
	g := newRig(t)
	var b strings.Builder
	for i := range maxAllowEntries {
		fmt.Fprintf(&b, "10.%d.%d.%d # a note for this one\n", i>>16, i>>8&255, i&255)
	}
	g.op("PUT", "/v1/allowlist", b.String(), "Content-Type", "text/plain").want(t, 200)
	if got := g.op("GET", "/v1/allowlist", "", "Accept", "text/plain").body; got != b.String() {
		t.Errorf("%d bytes came back of %d", len(got), b.Len())
	}
	b.WriteString("11.0.0.1\n")
	g.op("PUT", "/v1/allowlist", b.String(), "Content-Type", "text/plain").want(t, 422)
	g.op("PUT", "/v1/allowlist", strings.Repeat("#", maxAllowBody+1), "Content-Type", "text/plain").want(t, 413)
}

func TestLockOut(t *testing.T) {
	g := newRig(t)
	id, secret := g.key("live", "admin")
	put := func(base, path, body string) answer {
		return g.do(base, "PUT", path, secret, body, "X-Forwarded-For", "192.0.2.9")
	}
	other := `{"entries":[{"cidr":"203.0.113.0/24"}]}`
	for _, base := range []string{g.admin.URL, g.proxy.URL} {
		a := put(base, "/v1/allowlist", other).want(t, 409, fault.WouldLockOut)
		if !strings.Contains(a.message(), "192.0.2.9") {
			t.Errorf("%s", a.message())
		}
	}
	patch := func(path, body string) answer {
		return g.do(g.admin.URL, "PATCH", path, secret, body, "X-Forwarded-For", "192.0.2.9")
	}
	patch("/v1/keys/"+id, `{"allowlist":["203.0.113.0/24"]}`).want(t, 409, fault.WouldLockOut)
	patch("/v1/keys/"+id, `{"allowlist":["192.0.2.0/24"]}`).want(t, 200)
	patch("/v1/keys/"+id, `{"allowlist":[]}`).want(t, 200)
	other2, _ := g.key("live", "read")
	patch("/v1/keys/"+other2, `{"allowlist":["203.0.113.0/24"]}`).want(t, 200)
	put(g.admin.URL, "/v1/allowlist", `{"entries":[{"cidr":"192.0.2.0/24"}]}`).want(t, 200)
	put(g.admin.URL, "/v1/allowlist?force=maybe", other).want(t, 422)
	put(g.admin.URL, "/v1/allowlist?force=false", other).want(t, 409)
	put(g.admin.URL, "/v1/allowlist?force=true", other).want(t, 200)
	// From now on the list binds the key on both listeners, and no operator.
	put(g.admin.URL, "/v1/allowlist", other).want(t, 403, fault.IPNotAllowed)
	put(g.proxy.URL, "/v1/allowlist", other).want(t, 403, fault.IPNotAllowed)
	g.op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"203.0.113.0/25"}]}`).want(t, 200)
	g.do(g.proxy.URL, "GET", "/v1/allowlist", secret, "", "X-Forwarded-For", "203.0.113.5").want(t, 200)
}

func TestAllowlistNeedsItsTier(t *testing.T) {
	g := newRig(t)
	acct := g.op("POST", "/v1/accounts", `{"name":"small","tier":"free"}`).want(t, 201).text("id")
	list := `{"entries":[{"cidr":"203.0.113.0/24"}]}`
	g.op("PUT", "/v1/allowlist", list, AccountHeader, acct).want(t, 403, fault.FeatureNotInTier)
	g.op("PUT", "/v1/allowlist", `{"entries":[]}`, AccountHeader, acct).want(t, 200)
	g.op("PATCH", "/v1/accounts/"+acct, `{"tier":"enterprise"}`).want(t, 200)
	g.op("PUT", "/v1/allowlist", list, AccountHeader, acct).want(t, 200)
	g.op("PATCH", "/v1/accounts/"+acct, `{"tier":"free"}`).want(t, 200)
	if a := g.op("GET", "/v1/allowlist", "", AccountHeader, acct); !strings.Contains(a.body, "203.0.113.0/24") {
		t.Error("a downgrade drops the list")
	}
}

func TestAccounts(t *testing.T) {
	g := newRig(t)
	c := g.client()
	ctx := context.Background()
	perMinute, perMonth := int64(6000), int64(5_000_000)
	a, err := c.CreateManagedAccount(ctx, client.NewAccount{Name: "Acme", Tier: "enterprise", Limits: &client.Limits{PerMinute: &perMinute, PerMonth: &perMonth}})
	must(t, err)
	if !strings.HasPrefix(a.ID, "acct_") || a.RetentionDays != 30 || a.BrowserKeys != "alert" || *a.Limits.PerMonth != perMonth || a.Limits.Burst != nil || a.CreatedAt.IsZero() {
		t.Errorf("%+v", a)
	}
	b, err := c.UpdateManagedAccount(ctx, a.ID, client.Patch{"name": "Acme 2", "tier": "pro", "limits": nil, "region": "eu", "retention_days": 90, "alert_thresholds": []int{90, 50, 90}, "browser_keys": "block"})
	must(t, err)
	if b.Name != "Acme 2" || b.Tier != "pro" || b.Limits != nil || *b.Region != "eu" || b.RetentionDays != 90 || !slices.Equal(b.Alerts, []int{50, 90}) || b.Revocation == nil {
		t.Errorf("%+v", b)
	}
	var names []string
	for a, err := range c.ManagedAccounts(ctx) {
		must(t, err)
		names = append(names, a.ID)
	}
	if !slices.Equal(names, []string{a.ID, "default"}) {
		t.Errorf("%v", names)
	}
	for body, name := range map[string]string{
		`{"tier":"none"}`: "tier", `{"tier":null}`: "tier", `{"retention_days":6}`: "retention_days", `{"retention_days":91}`: "retention_days", `{"retention_days":null}`: "retention_days",
		`{"browser_keys":"ask"}`: "browser_keys", `{"alert_thresholds":[0]}`: "alert_thresholds", `{"limits":{"burst":0}}`: "limits.burst", `{"name":""}`: "name", `{"id":"x"}`: "id",
	} {
		if a := g.op("PATCH", "/v1/accounts/"+a.ID, body).want(t, 422); !strings.Contains(a.message(), name) {
			t.Errorf("%s: %s", body, a.message())
		}
	}
	c.Account = a.ID
	k, err := c.CreateKey(ctx, client.NewKey{Name: "n", Type: "live", Scopes: []string{"admin"}})
	must(t, err)
	if k.Account != a.ID {
		t.Errorf("the key is %s's", k.Account)
	}
	c.Account = ""
	// An account sees its own things alone.
	g.op("GET", "/v1/keys/"+k.ID, "").want(t, 404)
	g.op("PATCH", "/v1/keys/"+k.ID, `{"name":"x"}`).want(t, 404)
	g.op("POST", "/v1/keys/"+k.ID+"/revoke", "").want(t, 404)
	g.op("GET", "/v1/keys/"+k.ID, "", AccountHeader, a.ID).want(t, 200)
	g.op("GET", "/v1/keys", "", AccountHeader, "acct_none").want(t, 404, fault.NotFound)
	own := g.do(g.admin.URL, "GET", "/v1/account", *k.Secret, "").want(t, 200)
	if own.text("id") != a.ID {
		t.Errorf("%s", own.body)
	}
	g.do(g.admin.URL, "GET", "/v1/account", *k.Secret, "", AccountHeader, a.ID).want(t, 200)
	g.do(g.admin.URL, "GET", "/v1/account", *k.Secret, "", AccountHeader, "default").want(t, 403, fault.Forbidden)

	// Its own settings: retention only shorter, and on the admin listener.
	set := func(base, body string) answer { return g.do(base, "PATCH", "/v1/account", *k.Secret, body) }
	set(g.proxy.URL, `{"retention_days":20}`).want(t, 403, fault.Forbidden)
	set(g.proxy.URL, `{"name":"Mine","alert_thresholds":null}`).want(t, 200)
	set(g.admin.URL, `{"retention_days":20}`).want(t, 200)
	set(g.admin.URL, `{"retention_days":21}`).want(t, 422, fault.InvalidValue)
	set(g.admin.URL, `{"tier":"enterprise"}`).want(t, 422, fault.UnknownField)
	set(g.admin.URL, `{"limits":null}`).want(t, 422, fault.UnknownField)

	d, err := c.DeleteManagedAccount(ctx, a.ID)
	must(t, err)
	if !d.Deleted || d.ID != a.ID || !d.Revocation.Effective {
		t.Errorf("%+v", d)
	}
	g.do(g.admin.URL, "GET", "/v1/account", *k.Secret, "").want(t, 401, fault.InvalidKey)
	g.op("GET", "/v1/accounts/"+a.ID, "").want(t, 404)
	g.op("GET", "/v1/keys", "", AccountHeader, a.ID).want(t, 404)
	if log := g.op("GET", "/v1/audit-logs?action=account.delete", "", AccountHeader, a.ID).want(t, 200); !strings.Contains(log.body, a.ID) {
		t.Errorf("the deletion left no trace: %s", log.body)
	}
	g.op("GET", "/v1/audit-logs", "", AccountHeader, "acct_none").want(t, 404)
	g.op("DELETE", "/v1/accounts/default", "").want(t, 409, fault.Conflict)
	g.op("DELETE", "/v1/accounts/acct_none", "").want(t, 404)
}

func TestTiers(t *testing.T) {
	g := newRig(t)
	a := g.op("POST", "/v1/tiers", `{"name":"team","live":{"requests_per_minute":10,"requests_per_month":1000},"test":{},"features":{"ip_allowlist":true}}`).want(t, 201)
	if a.body != `{"name":"team","live":{"requests_per_minute":10,"burst":null,"requests_per_month":1000},"test":{"requests_per_minute":5,"burst":null,"requests_per_month":1000},"features":{"ip_allowlist":true}}`+"\n" {
		t.Errorf("%s", a.body)
	}
	b := g.op("PATCH", "/v1/tiers/team", `{"test":{"requests_per_minute":7}}`).want(t, 200)
	if !strings.Contains(b.body, `"live":{"requests_per_minute":10,`) || !strings.Contains(b.body, `"test":{"requests_per_minute":7,`) || !strings.Contains(b.body, `"ip_allowlist":true`) || b.json["revocation"] == nil {
		t.Errorf("%s", b.body)
	}
	list := g.op("GET", "/v1/tiers?limit=3", "").want(t, 200)
	rest := g.op("GET", "/v1/tiers?limit=3&cursor="+list.text("next_cursor"), "").want(t, 200)
	if len(list.json["data"].([]any)) != 3 || len(rest.json["data"].([]any)) != 1 || rest.json["next_cursor"] != nil {
		t.Errorf("%s%s", list.body, rest.body)
	}
	for body, name := range map[string]string{
		`{"name":"Team","live":{},"test":{}}`: "name", `{"name":"x","live":{}}`: "test", `{"name":"x","live":{"requests_per_minute":0},"test":{}}`: "live.requests_per_minute",
		`{"name":"x","live":{},"test":{},"features":{"sso":true}}`: "features.sso", `{"live":{},"test":{}}`: "name", `{"name":"x","live":null,"test":{}}`: "live",
	} {
		if a := g.op("POST", "/v1/tiers", body).want(t, 422); !strings.Contains(a.message(), name) {
			t.Errorf("%s: %s", body, a.message())
		}
	}
	g.op("POST", "/v1/tiers", `{"name":"team","live":{},"test":{}}`).want(t, 409, fault.Conflict)
	acct := g.op("POST", "/v1/accounts", `{"name":"n","tier":"team"}`).want(t, 201).text("id")
	g.op("DELETE", "/v1/tiers/team", "").want(t, 409, fault.Conflict)
	g.op("DELETE", "/v1/accounts/"+acct, "").want(t, 200)
	g.op("DELETE", "/v1/tiers/team", "").want(t, 200)
	g.op("GET", "/v1/tiers/team", "").want(t, 404)
	g.op("DELETE", "/v1/tiers/pro", "").want(t, 409)
	g.op("PATCH", "/v1/tiers/none", `{}`).want(t, 404)
}

func TestVerify(t *testing.T) {
	g := newRig(t)
	_, verifier := g.key("test", "verify")
	id, secret := g.key("live", "read", "custom")
	ask := func(token, body string) answer {
		return g.do(g.proxy.URL, "POST", "/v1/keys/verify", token, body)
	}
	a := ask(verifier, `{"key":"`+secret+`","method":"GET","path":"/v1/x"}`).want(t, 200)
	if a.json["valid"] != true || a.json["code"] != nil || a.text("key_id") != id || a.text("account") != "default" || fmt.Sprint(a.json["scopes"]) != "[read custom]" {
		t.Errorf("%s", a.body)
	}
	if len(a.header["X-Ratelimit-Limit"]) == 0 {
		t.Errorf("no limits of the caller's traffic: %v", a.header)
	}
	a = ask(verifier, `{"key":"`+secret+`","method":"POST","path":"/v1/x"}`).want(t, 200)
	if a.json["valid"] != false || a.text("code") != "insufficient_scope" {
		t.Errorf("%s", a.body)
	}
	a = ask(verifier, `{"key":"pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"}`).want(t, 200)
	if a.json["valid"] != false || a.text("code") != "invalid_key" || a.json["key_id"] != nil || a.json["scopes"] != nil {
		t.Errorf("%s", a.body)
	}
	acct := g.op("POST", "/v1/accounts", `{"name":"other"}`).want(t, 201).text("id")
	foreign := g.op("POST", "/v1/keys", `{"name":"n","type":"live"}`, AccountHeader, acct).want(t, 201).text("key")
	if a = ask(verifier, `{"key":"`+foreign+`"}`); a.text("code") != "invalid_key" || a.json["account"] != nil {
		t.Errorf("another account's key: %s", a.body)
	}
	if a = g.op("POST", "/v1/keys/verify", `{"key":"`+foreign+`"}`); a.json["valid"] != true {
		t.Errorf("an operator: %s", a.body)
	}
	for body, name := range map[string]string{`{}`: "key", `{"key":5}`: "key", `{"key":"x","ip":"y"}`: "ip", `{"key":"x","path":"y"}`: "path", `{"key":"x","units":-1}`: "units", `{"key":"x","consum":true}`: "consum"} {
		if a := ask(verifier, body).want(t, 422); !strings.Contains(a.message(), name) {
			t.Errorf("%s: %s", body, a.message())
		}
	}
	// It is not counted against the management bucket.
	for range perMinute + 10 {
		ask(verifier, `{"key":"x","consume":false}`).want(t, 200)
	}
	must(t, g.local.Flush())
	u := g.op("GET", "/v1/usage?group_by=key&key="+id, "").want(t, 200)
	if !strings.Contains(u.body, `"requests":2,"denied":1,"units":1,"cost":0,"billable":1`) {
		t.Errorf("usage of what was verified: %s", u.body)
	}
}

func TestRateLimitCall(t *testing.T) {
	g := newRig(t)
	_, limiter := g.key("test", "limit")
	ask := func(id string) answer {
		return g.do(g.proxy.URL, "POST", "/v1/ratelimit", limiter, `{"identifier":"`+id+`","limit":2,"window":"60s"}`).want(t, 200)
	}
	for i := range 2 {
		if a := ask("u1"); a.json["allowed"] != true || a.json["remaining"] != json.Number(fmt.Sprint(1-i)) || a.json["retry_after"] != nil {
			t.Errorf("%s", a.body)
		}
	}
	a := ask("u1")
	if a.json["allowed"] != false || a.json["retry_after"] != json.Number("30") {
		t.Errorf("%s", a.body)
	}
	ask("u2")
	g.now.Add(int64(30 * time.Second))
	if a := ask("u1"); a.json["allowed"] != true {
		t.Errorf("after retry_after: %s", a.body)
	}
	g.do(g.proxy.URL, "POST", "/v1/ratelimit", limiter, `{"identifier":"x","limit":0,"window":"60s"}`).want(t, 422)
	g.do(g.proxy.URL, "POST", "/v1/ratelimit", limiter, `{"identifier":"x","limit":1,"window":"soon"}`).want(t, 422)
}

func TestManagementBucket(t *testing.T) {
	g := newRig(t)
	_, secret := g.key("live", "admin")
	_, other := g.key("live", "admin")
	for i := range perMinute {
		a := g.do(g.admin.URL, "GET", "/v1/keys?limit=1", secret, "").want(t, 200)
		if got := a.header["X-Ratelimit-Remaining"]; i == 0 && !slices.Equal(got, []string{"299"}) {
			t.Errorf("remaining %v", got)
		}
	}
	a := g.do(g.admin.URL, "GET", "/v1/keys", secret, "").want(t, 429, fault.RequestsPerMinute)
	if a.header.Get("Retry-After") != "1" || !strings.HasPrefix(a.message(), "You have exceeded your rate limit") {
		t.Errorf("%v %s", a.header, a.body)
	}
	g.do(g.proxy.URL, "GET", "/v1/keys", secret, "").want(t, 429)
	g.do(g.admin.URL, "GET", "/v1/keys", other, "").want(t, 200)
	g.now.Add(int64(time.Second))
	g.do(g.admin.URL, "GET", "/v1/keys", secret, "").want(t, 200)
}

func TestCredentials(t *testing.T) {
	g := newRig(t)
	_, secret := g.key("live", "admin")
	get := func(path string, headers ...string) answer {
		return g.do(g.admin.URL, "GET", path, "", "", headers...)
	}
	get("/v1/keys", "Authorization", "bearer "+secret).want(t, 200)
	get("/v1/keys", "Authorization", "BEARER "+operatorToken).want(t, 200)
	get("/v1/keys", "Authorization", "Basic "+operatorToken).want(t, 401)
	get("/v1/keys?api_key="+secret, "Authorization", "Bearer "+secret).want(t, 400)
	a := g.op("GET", "/v1/keys", "")
	g.op("GET", "/v1/keys", "", AccountHeader, "default").want(t, 200)
	if a.header["X-Ratelimit-Limit"] != nil {
		t.Error("an operator has limits")
	}
	r, _ := http.NewRequest("GET", g.admin.URL+"/v1/keys", nil)
	r.Header["Authorization"] = []string{"Bearer " + operatorToken, "Bearer " + secret}
	resp, err := g.RoundTrip(r)
	must(t, err)
	if resp.StatusCode != 400 {
		t.Errorf("two credentials: %d", resp.StatusCode)
	}
}
