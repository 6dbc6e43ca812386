package manage_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// exportOf reads an export: the data of its lines by type.
func exportOf(t *testing.T, body string) map[string][]map[string]any {
	t.Helper()
	out := map[string][]map[string]any{}
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	for _, line := range lines {
		var v struct {
			Type string
			Data map[string]any
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		out[v.Type] = append(out[v.Type], v.Data)
	}
	end := out["end"]
	if len(end) != 1 || end[0]["lines"] != float64(len(lines)-1) {
		t.Fatalf("the end of %d lines: %v", len(lines), end)
	}
	return out
}

// An export holds everything about one account, no secret, and nothing of another account.
func TestAccountData(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme","tier":"enterprise"}`).Want(t, 201).Text("id")
	as := []string{"X-Perf-Account", acct}
	owner, other := g.Person("o@acme.example", "owner", acct), g.Person("o@other.example", "owner", "")
	var secrets []string
	const many = 5
	for i := range many {
		a := g.Op("POST", "/v1/keys", fmt.Sprintf(`{"name":"key-%d","type":"live"}`, i), as...).Want(t, 201)
		secrets = append(secrets, a.Text("key"))
	}
	foreign := g.Op("POST", "/v1/keys", `{"name":"foreign","type":"live"}`).Want(t, 201).Text("id")
	secrets = append(secrets, g.Op("POST", "/v1/webhooks", `{"url":"https://hooks.example/","events":["key.created"]}`, as...).Want(t, 201).Text("secret"))
	g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"192.0.2.0/24","note":"office"},{"cidr":"127.0.0.0/8","note":""},{"cidr":"::1/128","note":""}]}`, as...).Want(t, 200)
	g.Op("POST", "/v1/incidents", `{"title":"trouble","match":{},"action":"none"}`, as...)

	a := owner.Do("GET", "/v1/account/data", "").Want(t, 200)
	if ct := a.Header.Get("Content-Type"); ct != "application/x-ndjson" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.Header)
	}
	got := exportOf(t, a.Body)
	if h := got["export"][0]; h["account"] != acct || h["cluster_id"] == "" {
		t.Errorf("%v", h)
	}
	for kind, n := range map[string]int{"account": 1, "key": many, "user": 1, "session": 1, "webhook": 1, "allowlist_entry": 3} {
		if len(got[kind]) != n {
			t.Errorf("%d lines of %s, want %d: %v", len(got[kind]), kind, n, got[kind])
		}
	}
	if len(got["event"]) < many {
		t.Errorf("events: %v", got["event"])
	}
	if u := got["user"][0]; u["email"] != "o@acme.example" {
		t.Errorf("%v", u)
	}
	for _, s := range append(secrets, foreign, "o@other.example", "$argon2") {
		if s == "" || strings.Contains(a.Body, s) {
			t.Errorf("%q is in the export", s)
		}
	}
	// An operator reads the same, and only owners and operators may.
	op := exportOf(t, g.Op("GET", "/v1/account/data", "", as...).Want(t, 200).Body)
	if len(op["key"]) != many || len(op["user"]) != 1 || len(op["session"]) != 1 {
		t.Errorf("an operator: %d keys, %v, %v", len(op["key"]), op["user"], op["session"])
	}
	own := exportOf(t, other.Do("GET", "/v1/account/data", "").Want(t, 200).Body)
	if len(own["key"]) != 1 || own["key"][0]["id"] != foreign {
		t.Errorf("another account: %v", own["key"])
	}
	_, key := g.Key("live", "admin")
	g.Do(g.Admin.URL, "GET", "/v1/account/data", key, "").Want(t, 403, fault.Forbidden)
}
