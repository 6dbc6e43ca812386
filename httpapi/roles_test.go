package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// whoMayCall lists for every call the roles that may make it: o(wner), a(dmin),
// d(eveloper), v(iewer), "-" for none of them but the operator, "*" for everybody who is
// signed in.
var whoMayCall = map[string]string{
	"createKey": "oad", "updateKey": "oad", "rotateKey": "oad", "revokeKey": "oad",
	"listKeys": "oadv", "getKey": "oadv", "keyNodes": "oadv", "usage": "oadv", "limits": "oadv", "simulateLimits": "oadv",
	"revokeKeys": "oa", "importKeys": "oa", "verifyKey": "oa", "rateLimit": "oa",
	"getAllowlist": "oav", "setAllowlist": "oa", "confirmAllowlist": "oa", "revertAllowlist": "oa", "auditLogs": "oav", "auditHead": "oav", "getAccount": "oav", "updateAccount": "oa",

	"keyUsage": "*", "securityEvents": "oav", "hygiene": "oav",
	"openIncident": "oa", "listIncidents": "oav", "getIncident": "oav", "closeIncident": "oa", "incidentReport": "oav",
	"accountData": "o", "eraseAccountData": "o", "listErasures": "o", "getErasure": "o", "cancelErasure": "o",
	"createWebhook": "oa", "listWebhooks": "oav", "getWebhook": "oav", "updateWebhook": "oa", "deleteWebhook": "oa", "rotateWebhookSecret": "oa",
	"testWebhook": "oa", "listDeliveries": "oav", "redeliver": "oa", "redeliverSince": "oa",

	"session": "*", "signOut": "*", "setPassword": "*", "newSecondFactor": "*", "setSecondFactor": "*", "removeSecondFactor": "*",
	"listSessions": "*", "endSession": "*",
	"createUser": "o", "listUsers": "o", "getUser": "o", "updateUser": "o", "deleteUser": "o", "disableUser": "o", "resetUser": "o",
	"createSessionLink": "oa",

	"createOperatorToken": "-", "listOperatorTokens": "-", "deleteOperatorToken": "-",
	"createManagedAccount": "-", "listManagedAccounts": "-", "getManagedAccount": "-", "updateManagedAccount": "-", "deleteManagedAccount": "-",
	"createTier": "-", "listTiers": "-", "getTier": "-", "updateTier": "-", "deleteTier": "-",
	"cluster": "-", "transferLeadership": "-", "removeNode": "-", "keyring": "-", "compliance": "-", "rotateKEK": "-", "rotateAuditKey": "-", "rotateDataKey": "-", "rotatePepper": "-", "finishPepper": "-", "backup": "-", "metrics": "-",
}

// Every call × every role. Keys and callers without a credential are in TestWhoMayCall.
func TestEveryCallByRole(t *testing.T) {
	g := apitest.New(t)
	people := map[string]*apitest.Person{}
	for _, role := range store.Roles {
		people[string(role)] = g.Person(string(role)+"@example.com", string(role), "")
	}
	for _, rt := range g.API.Routes() {
		if rt.Access&rest.Open != 0 {
			continue
		}
		who, ok := whoMayCall[rt.ID]
		if !ok {
			t.Errorf("%s: state who may call it", rt.ID)
			continue
		}
		for role, p := range people {
			if rt.ID == "signOut" {
				continue // the session is needed
			}
			g.Now.Add(int64(time.Second)) // for the buckets of management
			path, body := sample(rt, "key_none")
			a := p.Do(rt.Method, path, body)
			may := who == "*" || role == "operator" || strings.Contains(who, role[:1])
			refused := a.Status == 403 && a.Code() == string(fault.Forbidden) && strings.Contains(a.Message(), "The role "+role)
			if may == refused || a.Status == 401 && a.Code() != string(fault.InvalidCredentials) || a.Status >= 500 {
				t.Errorf("%s by %s: %d %s, may %v", rt.ID, role, a.Status, a.Body, may)
			}
		}
	}
}

// A developer manages the keys that they created, and gives none the scope admin.
func TestDeveloper(t *testing.T) {
	g := apitest.New(t)
	dev := g.Person("dev@example.com", "developer", "")
	others, _ := g.Key("live", "read")
	a := dev.Do("POST", "/v1/keys", `{"name":"mine","type":"test"}`).Want(t, 201)
	own := a.Text("id")
	if a.Text("created_by") != dev.ID {
		t.Errorf("created by %s", a.Text("created_by"))
	}
	dev.Do("POST", "/v1/keys", `{"name":"mine","type":"test","scopes":["admin"]}`).Want(t, 403, fault.Forbidden)
	dev.Do("PATCH", "/v1/keys/"+own, `{"scopes":["read","admin"]}`).Want(t, 403, fault.Forbidden)
	dev.Do("PATCH", "/v1/keys/"+own, `{"name":"still mine"}`).Want(t, 200)
	for _, c := range []struct{ method, path, body string }{
		{"PATCH", "/v1/keys/" + others, `{"name":"x"}`}, {"POST", "/v1/keys/" + others + "/rotate", ""}, {"POST", "/v1/keys/" + others + "/revoke", ""},
		{"POST", "/v1/keys/" + own + "/revoke", `{"chain":true}`},
	} {
		dev.Do(c.method, c.path, c.body).Want(t, 403, fault.Forbidden)
	}
	dev.Do("GET", "/v1/keys/"+others, "").Want(t, 200)
	rotated := dev.Do("POST", "/v1/keys/"+own+"/rotate", `{"overlap":"0s"}`).Want(t, 201).Text("id")
	dev.Do("POST", "/v1/keys/"+rotated+"/revoke", "").Want(t, 200)
	// The audit log names the user, by id and by name.
	for _, who := range []string{dev.ID, "developer+of+dev@example.com"} {
		if e := g.Events("?action=key.rotate&outcome=success&user=" + who); len(e) != 1 || e[0].Actor.Type != "user" || e[0].Actor.ID != dev.ID || e[0].Actor.Name != "developer of dev@example.com" {
			t.Errorf("events of %s: %+v", who, e)
		}
	}
}

// A user acts on their own account, an operator on every one; retention is the owner's.
func TestUsersActOnTheirAccount(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	owner, admin := g.Person("o@example.com", "owner", acct), g.Person("a@example.com", "admin", acct)
	op := g.Person("op@example.com", "operator", "")
	if id := owner.Do("GET", "/v1/account", "").Want(t, 200).Text("id"); id != acct {
		t.Errorf("the account is %s", id)
	}
	owner.Do("GET", "/v1/account", "", "X-Perf-Account", "default").Want(t, 403, fault.Forbidden)
	op.Do("GET", "/v1/account", "", "X-Perf-Account", acct).Want(t, 200)
	admin.Do("PATCH", "/v1/account", `{"retention_days":7}`).Want(t, 403, fault.Forbidden)
	owner.Do("PATCH", "/v1/account", `{"retention_days":7}`).Want(t, 200)
	// An owner makes no operator, and no user elsewhere.
	owner.Do("POST", "/v1/users", `{"email":"x@example.com","role":"operator"}`).Want(t, 403, fault.Forbidden)
	owner.Do("POST", "/v1/users", `{"email":"x@example.com","role":"viewer","account":"default"}`).Want(t, 403, fault.Forbidden)
	owner.Do("GET", "/v1/users/"+op.ID, "").Want(t, 404)
	owner.Do("PATCH", "/v1/users/"+admin.ID, `{"role":"viewer"}`).Want(t, 200)
	owner.Do("PATCH", "/v1/users/"+owner.ID, `{"role":"viewer"}`).Want(t, 409, fault.WouldLockOut)
	if n := len(owner.Do("GET", "/v1/users", "").JSON["data"].([]any)); n != 2 {
		t.Errorf("an owner sees %d users", n)
	}
	if n := len(op.Do("GET", "/v1/users", "").JSON["data"].([]any)); n != 3 {
		t.Errorf("an operator sees %d users", n)
	}
	g.Op("PATCH", "/v1/accounts/"+acct, `{"state":"suspended"}`).Want(t, 200)
	owner.Do("GET", "/v1/account", "").Want(t, 403, fault.AccountSuspended)
	owner.Do("GET", "/v1/session", "").Want(t, 200)
}
