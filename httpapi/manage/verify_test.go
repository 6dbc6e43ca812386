package manage_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/rest"
)

func TestVerify(t *testing.T) {
	g := apitest.New(t)
	_, verifier := g.Key("test", "verify")
	id, secret := g.Key("live", "read", "custom")
	ask := func(token, body string) apitest.Answer {
		return g.Do(g.Proxy.URL, "POST", "/v1/keys/verify", token, body)
	}
	a := ask(verifier, `{"key":"`+secret+`","method":"GET","path":"/v1/x"}`).Want(t, 200)
	if a.JSON["valid"] != true || a.JSON["code"] != nil || a.Text("key_id") != id || a.Text("account") != "default" || fmt.Sprint(a.JSON["scopes"]) != "[read custom]" {
		t.Errorf("%s", a.Body)
	}
	if len(a.Header["X-Ratelimit-Limit"]) == 0 {
		t.Errorf("no limits of the caller's traffic: %v", a.Header)
	}
	a = ask(verifier, `{"key":"`+secret+`","method":"POST","path":"/v1/x"}`).Want(t, 200)
	if a.JSON["valid"] != false || a.Text("code") != "insufficient_scope" {
		t.Errorf("%s", a.Body)
	}
	a = ask(verifier, `{"key":"pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"}`).Want(t, 200)
	if a.JSON["valid"] != false || a.Text("code") != "invalid_key" || a.JSON["key_id"] != nil || a.JSON["scopes"] != nil {
		t.Errorf("%s", a.Body)
	}
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	foreign := g.Op("POST", "/v1/keys", `{"name":"n","type":"live"}`, rest.AccountHeader, acct).Want(t, 201).Text("key")
	if a = ask(verifier, `{"key":"`+foreign+`"}`); a.Text("code") != "invalid_key" || a.JSON["account"] != nil {
		t.Errorf("another account's key: %s", a.Body)
	}
	if a = g.Op("POST", "/v1/keys/verify", `{"key":"`+foreign+`"}`); a.JSON["valid"] != true {
		t.Errorf("an operator: %s", a.Body)
	}
	for body, name := range map[string]string{`{}`: "key", `{"key":5}`: "key", `{"key":"x","ip":"y"}`: "ip", `{"key":"x","path":"y"}`: "path", `{"key":"x","units":-1}`: "units", `{"key":"x","consum":true}`: "consum"} {
		if a := ask(verifier, body).Want(t, 422); !strings.Contains(a.Message(), name) {
			t.Errorf("%s: %s", body, a.Message())
		}
	}
	// It is not counted against the management bucket, which holds 300.
	for range 310 {
		ask(verifier, `{"key":"x","consume":false}`).Want(t, 200)
	}
	apitest.Must(t, g.Local.Flush())
	u := g.Op("GET", "/v1/usage?group_by=key&key="+id, "").Want(t, 200)
	if !strings.Contains(u.Body, `"requests":2,"denied":1,"failed":0,"units":1,"cost":0,"billable":1`) {
		t.Errorf("usage of what was verified: %s", u.Body)
	}
}

func TestRateLimitCall(t *testing.T) {
	g := apitest.New(t)
	_, limiter := g.Key("test", "limit")
	ask := func(id string) apitest.Answer {
		return g.Do(g.Proxy.URL, "POST", "/v1/ratelimit", limiter, `{"identifier":"`+id+`","limit":2,"window":"60s"}`).Want(t, 200)
	}
	for i := range 2 {
		if a := ask("u1"); a.JSON["allowed"] != true || a.JSON["remaining"] != json.Number(fmt.Sprint(1-i)) || a.JSON["retry_after"] != nil {
			t.Errorf("%s", a.Body)
		}
	}
	a := ask("u1")
	if a.JSON["allowed"] != false || a.JSON["retry_after"] != json.Number("30") {
		t.Errorf("%s", a.Body)
	}
	ask("u2")
	g.Now.Add(int64(30 * time.Second))
	if a := ask("u1"); a.JSON["allowed"] != true {
		t.Errorf("after retry_after: %s", a.Body)
	}
	g.Do(g.Proxy.URL, "POST", "/v1/ratelimit", limiter, `{"identifier":"x","limit":0,"window":"60s"}`).Want(t, 422)
	g.Do(g.Proxy.URL, "POST", "/v1/ratelimit", limiter, `{"identifier":"x","limit":1,"window":"soon"}`).Want(t, 422)
}
