package manage_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// Whether a key that exists already is the caller's own or another account's, the
// answer is the same, and it names neither.
func TestImportClash(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	secret := apikey.New(apikey.LivePrefix)
	sum := sha256.Sum256([]byte(secret))
	g.Op("POST", "/v1/keys/import", `{"name":"first","type":"live","key":"`+secret+`"}`).Want(t, 200)
	for _, line := range []string{
		`{"name":"a","type":"live","key":"` + secret + `"}`,
		`{"name":"a","type":"live","sha256":"` + hex.EncodeToString(sum[:]) + `"}`,
		`{"name":"a","type":"live","sha256":"` + hex.EncodeToString(sum[:]) + `","prefix":"pk_live_"}`,
	} {
		own := g.Op("POST", "/v1/keys/import", line).Want(t, 200)
		foreign := g.Op("POST", "/v1/keys/import", line, rest.AccountHeader, acct).Want(t, 200)
		if own.Body != foreign.Body || !strings.Contains(own.Body, `"conflict"`) || strings.Contains(own.Body, "key_") || strings.Contains(own.Body, acct) {
			t.Errorf("own: %s\nforeign: %s", own.Body, foreign.Body)
		}
	}
}

// An account that imports the hash of another's key first keeps its owner from importing
// it. An operator finds that key by the secret and revokes it; the owner can import it with
// the end of the account. Nobody else finds it, or brings a revoked key back by an import.
func TestOperatorEndsAForeignImport(t *testing.T) {
	const secret = "sk_live_aaaaaaaaaaaaaaaa"
	sum := sha256.Sum256([]byte(secret))
	for _, prefix := range []string{"sk_live_", "zzz_"} { // the second keeps it from being looked up
		g := apitest.New(t)
		taker := g.Op("POST", "/v1/accounts", `{"name":"taker"}`).Want(t, 201).Text("id")
		owner := g.Op("POST", "/v1/keys", `{"name":"v","type":"live","scopes":["verify","admin"]}`).Want(t, 201).Text("key")
		imported := func() bool {
			a := g.Op("POST", "/v1/keys/import", `{"name":"own","type":"live","key":"`+secret+`"}`).Want(t, 200)
			return !strings.Contains(a.Body, `"conflict"`)
		}
		look := func(token, consume string) apitest.Answer {
			return g.Do(g.Admin.URL, "POST", "/v1/keys/verify", token, `{"key":"`+secret+`"`+consume+`}`).Want(t, 200)
		}
		taken := g.Op("POST", "/v1/keys/import", `{"name":"a","type":"live","sha256":"`+hex.EncodeToString(sum[:])+`","prefix":"`+prefix+`"}`, rest.AccountHeader, taker).Want(t, 200)
		if imported() {
			t.Fatalf("%s: the hash was not taken: %s", prefix, taken.Body)
		}
		found := look(apitest.OperatorToken, `,"consume":false`)
		if found.Text("account") != taker || (found.JSON["valid"] == true) != (prefix == "sk_live_") {
			t.Errorf("%s: an operator is told %s", prefix, found.Body)
		}
		if a := look(owner, `,"consume":false`); a.JSON["key_id"] != nil {
			t.Errorf("%s: another account is told %s", prefix, a.Body)
		}
		if a := look(apitest.OperatorToken, ""); prefix == "zzz_" && a.JSON["key_id"] != nil {
			t.Errorf("%s: a verdict that charges is told of a key that no request is: %s", prefix, a.Body)
		}
		g.Op("POST", "/v1/keys/"+found.Text("key_id")+"/revoke", "", rest.AccountHeader, taker).Want(t, 200)
		if imported() {
			t.Errorf("%s: an import brings a revoked key back", prefix)
		}
		g.Op("DELETE", "/v1/accounts/"+taker, "").Want(t, 200)
		if !imported() || look(owner, "").JSON["valid"] != true {
			t.Errorf("%s: the owner cannot import its key after the end of the other account", prefix)
		}
	}
}

// An operator moves a key that is revoked in one account to another one. The first account
// never gets it back, a key of either may not do it, and no answer tells where it was.
func TestReassign(t *testing.T) {
	const secret, line = "sk_live_aaaaaaaaaaaaaaaa", `{"name":"n","type":"live","key":"sk_live_aaaaaaaaaaaaaaaa"}`
	const clash = `{"data":[{"line":1,"id":null,"error":{"code":"conflict","message":"this key exists already"}}],"next_cursor":null}`
	g := apitest.New(t)
	other := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	_, own := g.Key("live", "admin")
	load := func(account, query string) string {
		t.Helper()
		return strings.TrimSpace(g.Op("POST", "/v1/keys/import"+query, line, rest.AccountHeader, account).Want(t, 200).Body)
	}
	refused := func(account, query string) {
		t.Helper()
		if got := load(account, query); got != clash {
			t.Errorf("into %s%s: %s", account, query, got)
		}
	}
	account := func() string {
		return g.Op("POST", "/v1/keys/verify", `{"key":"`+secret+`"}`, rest.AccountHeader, other).Want(t, 200).Text("account")
	}
	load("default", "")
	id := g.Op("GET", "/v1/keys?name=n", "").Want(t, 200).JSON["data"].([]any)[0].(map[string]any)["id"].(string)
	refused(other, "?reassign=true") // it works where it is
	g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200)
	refused("default", "")
	refused("default", "?reassign=true")
	refused(other, "")
	g.Do(g.Admin.URL, "POST", "/v1/keys/import?reassign=true", own, line).Want(t, 403, fault.Forbidden)
	g.Op("POST", "/v1/keys/import?reassign=1", line).Want(t, 422, fault.InvalidValue)
	if got := load(other, "?reassign=true"); strings.Contains(got, "error\":{") || account() != other {
		t.Fatalf("%s; the key is of %q", got, account())
	}
	refused("default", "")
	refused("default", "?reassign=true")
	if a := g.Op("GET", "/v1/keys/"+id, "").Want(t, 200); a.Text("state") != "revoked" {
		t.Errorf("the first account's key is %s", a.Body)
	}
}
