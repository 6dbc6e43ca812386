package manage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestSuspension(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201)
	if acct.Text("state") != "active" || acct.JSON["key_policy"] != nil {
		t.Errorf("%s", acct.Body)
	}
	id := acct.Text("id")
	key := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["admin"]}`, "X-Perf-Account", id).Want(t, 201).Text("key")
	g.Do(g.Admin.URL, "GET", "/v1/account", key, "").Want(t, 200)
	a := g.Op("PATCH", "/v1/accounts/"+id, `{"state":"suspended"}`).Want(t, 200)
	if a.Text("state") != "suspended" || a.JSON["revocation"] == nil {
		t.Errorf("%s", a.Body)
	}
	g.Do(g.Admin.URL, "GET", "/v1/account", key, "").Want(t, 403, fault.AccountSuspended)
	if v := g.Op("POST", "/v1/keys/verify", `{"key":"`+key+`"}`, "X-Perf-Account", id).Want(t, 200); v.JSON["valid"] != false || v.Text("code") != "account_suspended" {
		t.Errorf("%s", v.Body)
	}
	// No key of the account ends the suspension.
	g.Do(g.Admin.URL, "PATCH", "/v1/account", key, `{"name":"x"}`).Want(t, 403, fault.AccountSuspended)
	g.Op("PATCH", "/v1/account", `{"state":"active"}`, "X-Perf-Account", id).Want(t, 422)
	g.Op("PATCH", "/v1/accounts/"+id, `{"state":"active"}`).Want(t, 200)
	g.Do(g.Admin.URL, "GET", "/v1/account", key, "").Want(t, 200)
	g.Op("PATCH", "/v1/accounts/"+id, `{"state":"closed"}`).Want(t, 422)
	g.Op("PATCH", "/v1/accounts/"+id, `{"state":null}`).Want(t, 422)
	if e := g.Events("?action=account.update&outcome=success"); len(e) != 0 {
		t.Errorf("events of another account: %v", e)
	}
}

func TestKeyPolicy(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("PATCH", "/v1/accounts/default", `{"key_policy":{"max_ttl":"90d","must_expire":true,"max_keys":2}}`).Want(t, 200)
	if !strings.Contains(a.Body, `"key_policy":{"max_ttl":"2160h","must_expire":true,"max_keys":2}`) {
		t.Errorf("%s", a.Body)
	}
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	const day = 24 * time.Hour
	for body, code := range map[string]fault.Code{
		`{"name":"n","type":"live"}`:                                   fault.InvalidValue,
		`{"name":"n","type":"live","expires_at":"` + at(91*day) + `"}`: fault.InvalidValue,
	} {
		if a := g.Op("POST", "/v1/keys", body).Want(t, 422, code); !strings.Contains(a.Message(), "key policy") || !strings.Contains(a.Body, `"param":"/expires_at"`) {
			t.Errorf("%s: %s", body, a.Body)
		}
	}
	long := `{"name":"n","type":"live","expires_at":"` + at(89*day) + `"}`
	id := g.Op("POST", "/v1/keys", long).Want(t, 201).Text("id")
	g.Op("POST", "/v1/keys", long).Want(t, 201)
	if a := g.Op("POST", "/v1/keys", long).Want(t, 422, fault.LimitReached); !strings.Contains(a.Message(), "revoke one") {
		t.Errorf("%s", a.Body)
	}
	g.Op("PATCH", "/v1/keys/"+id, `{"expires_at":null}`).Want(t, 422)
	g.Op("POST", "/v1/keys/"+id+"/rotate", "").Want(t, 201)
	for body, field := range map[string]string{`{"max_ttl":"1s"}`: "max_ttl", `{"max_ttl":"soon"}`: "max_ttl", `{"max_keys":0}`: "max_keys", `{"max":1}`: "max"} {
		if a := g.Op("PATCH", "/v1/accounts/default", `{"key_policy":`+body+`}`).Want(t, 422); !strings.Contains(a.Message(), "key_policy."+field) {
			t.Errorf("%s: %s", body, a.Message())
		}
		g.Op("POST", "/v1/accounts", `{"name":"n","key_policy":`+body+`}`).Want(t, 422)
	}
	if a := g.Op("PATCH", "/v1/accounts/default", `{"key_policy":null}`).Want(t, 200); a.JSON["key_policy"] != nil {
		t.Errorf("%s", a.Body)
	}
	g.Op("POST", "/v1/keys", `{"name":"n","type":"live"}`).Want(t, 201)
}
