package manage_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// Events of no account are the operators' to read: a key or an owner of the account "default"
// sees neither them nor requests whose credential names no key.
func TestOperatorsLog(t *testing.T) {
	g := apitest.New(t)
	g.Op("POST", "/v1/tiers", `{"name":"gold","live":{},"test":{}}`).Want(t, 201)
	now, _ := g.Config.Clock()
	_, err := g.Backend.Apply(&store.Command{At: now.UTC(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"},
		Change: &store.OperatorsLog{}})
	apitest.Must(t, err)
	g.Op("POST", "/v1/tiers", `{"name":"silver","live":{},"test":{}}`).Want(t, 201)
	g.Op("GET", "/v1/tiers/none", "").Want(t, 404)
	g.Do(g.Admin.URL, "GET", "/v1/keys", "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", "").Want(t, 401)
	id, secret := g.Key("live", "admin")
	owner := g.Person("owner@example.com", "owner", "default")
	apitest.Must(t, g.Local.Flush())

	actions := func(a apitest.Answer) string {
		var list []string
		for _, e := range a.Want(t, 200).JSON["data"].([]any) {
			e := e.(map[string]any)
			if target, _ := e["target"].(string); e["action"] == "tier.create" || e["action"] == "tier.update" {
				list = append(list, "tier "+target)
			} else if e["outcome"] == "denied" {
				list = append(list, e["reason"].(string))
			} else if e["key_id"] == id && e["action"] == "key.create" {
				list = append(list, "key")
			}
		}
		slices.Sort(list) // events of one moment are in the order of their ids
		return strings.Join(list, ", ")
	}
	const log = "/v1/audit-logs?order=asc&end_date=2100-01-01&limit=1000"
	both := actions(g.Op("GET", log, ""))
	for query, want := range map[string]string{
		"&log=account":   "key, tier gold",
		"&log=operators": "invalid_key, not_found, tier silver",
	} {
		if got := actions(g.Op("GET", log+query, "")); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for _, one := range []string{"tier gold", "key", "tier silver", "not_found", "invalid_key"} {
		if !strings.Contains(both, one) {
			t.Errorf("an operator who names no log reads %q, without %s", both, one)
		}
	}
	if got := actions(g.Do(g.Admin.URL, "GET", log, secret, "")); got != "key, tier gold" {
		t.Errorf("a key of the account reads %s", got)
	}
	if got := actions(owner.Do("GET", log, "")); got != "key, tier gold" {
		t.Errorf("an owner of the account reads %s", got)
	}
	for _, path := range []string{"/v1/audit-logs?log=operators", "/v1/audit-logs?limit=1&log=operators", "/v1/audit-logs/head?log=operators"} {
		g.Do(g.Admin.URL, "GET", path, secret, "").Want(t, 403, fault.Forbidden)
		owner.Do("GET", path, "").Want(t, 403, fault.Forbidden)
		g.Op("GET", path, "").Want(t, 200)
		other := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
		if a := g.Op("GET", path, "", "X-Perf-Account", other).Want(t, 422); !strings.Contains(a.Message(), "belong to no account") {
			t.Errorf("%s with an account: %s", path, a.Message())
		}
	}
	g.Op("GET", "/v1/audit-logs?log=all", "").Want(t, 422)
}

// The audit log is asked for a user by their address, in any case.
func TestAuditByAddress(t *testing.T) {
	g := apitest.New(t)
	p := g.Person("Ada@example.com", "owner", "")
	p.Do("POST", "/v1/keys", `{"name":"n","type":"test"}`).Want(t, 201)
	g.Now.Add(int64(time.Minute))
	for _, user := range []string{"ada@example.com", "ADA@EXAMPLE.COM", p.ID} {
		if e := g.Events("?action=key.create&user=" + user); len(e) != 1 {
			t.Errorf("%s: %+v", user, e)
		}
	}
	// Whether a person of another account has an address is nobody's to know.
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	g.Person("eve@acme.example", "owner", acct)
	for _, address := range []string{"eve@acme.example", "none@acme.example"} {
		key := g.Op("POST", "/v1/keys", `{"name":"`+address+`","type":"live","scopes":["admin"]}`).Want(t, 201).Text("key")
		g.Do(g.Admin.URL, "POST", "/v1/keys", key, `{"name":"made","type":"test"}`).Want(t, 201)
		g.Now.Add(int64(time.Minute))
		if a := g.Do(g.Admin.URL, "GET", "/v1/audit-logs?action=key.create&user="+address, key, "").Want(t, 200); len(a.JSON["data"].([]any)) != 1 {
			t.Errorf("%s: %s", address, a.Body)
		}
	}
	if e := g.Events("?user=bob@example.com"); len(e) != 0 {
		t.Errorf("of nobody: %+v", e)
	}
}
