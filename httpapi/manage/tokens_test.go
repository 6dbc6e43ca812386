package manage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestOperatorTokens(t *testing.T) {
	g := apitest.New(t)
	in := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	a := g.Op("POST", "/v1/operator-tokens", `{"name":"CI","expires_at":"`+in+`"}`, "Idempotency-Key", "1").Want(t, 201)
	token, id := a.Text("token"), a.Text("id")
	if !strings.HasPrefix(token, "pgop_") || !strings.HasPrefix(id, "op_") || a.Text("expires_at") != in || a.Text("name") != "CI" {
		t.Fatalf("%s", a.Body)
	}
	again := g.Op("POST", "/v1/operator-tokens", `{"name":"CI","expires_at":"`+in+`"}`, "Idempotency-Key", "1").Want(t, 200)
	if again.JSON["token"] != nil || again.JSON["secret_withheld"] != true || again.Text("id") != id {
		t.Errorf("the repeat: %s", again.Body)
	}
	g.Do(g.Admin.URL, "GET", "/v1/accounts", token, "").Want(t, 200)
	apitest.Must(t, g.Local.Flush())
	list := g.Op("GET", "/v1/operator-tokens?limit=1", "").Want(t, 200)
	rest := g.Op("GET", "/v1/operator-tokens?cursor="+list.Text("next_cursor"), "").Want(t, 200)
	first := list.JSON["data"].([]any)[0].(map[string]any)
	second := rest.JSON["data"].([]any)[0].(map[string]any)
	if first["name"] != nil || second["id"] != id || second["last_used_at"] == nil || second["last_used_ip"] != "127.0.0.1" || rest.JSON["next_cursor"] != nil {
		t.Errorf("%s%s", list.Body, rest.Body)
	}
	// The audit log names the token that acted.
	g.Do(g.Admin.URL, "POST", "/v1/keys", token, `{"name":"n","type":"test"}`).Want(t, 201)
	if e := g.Events("?user=CI&action=key.create"); len(e) != 1 || e[0].Actor.ID != id || e[0].Actor.Name != "CI" {
		t.Errorf("events by CI: %+v", e)
	}
	// The first token is ended by the second.
	g.Do(g.Admin.URL, "DELETE", "/v1/operator-tokens/"+first["id"].(string), token, "").Want(t, 200)
	g.Op("GET", "/v1/accounts", "").Want(t, 401)
	// The last one is kept, until it is forced or has expired.
	g.Do(g.Admin.URL, "DELETE", "/v1/operator-tokens/"+id, token, "").Want(t, 409, fault.WouldLockOut)
	g.Now.Add(int64(2 * time.Hour))
	g.Do(g.Admin.URL, "GET", "/v1/accounts", token, "").Want(t, 401)
}

func TestOperatorTokenFaults(t *testing.T) {
	g := apitest.New(t)
	for body, field := range map[string]string{
		`{}`: "name", `{"name":""}`: "name", `{"name":"a","expires_at":"2001-01-01T00:00:00Z"}`: "expires_at", `{"name":"a","x":1}`: "x",
	} {
		if a := g.Op("POST", "/v1/operator-tokens", body).Want(t, 422); !strings.Contains(a.Message(), field) {
			t.Errorf("%s: %s", body, a.Message())
		}
	}
	g.Op("DELETE", "/v1/operator-tokens/op_0123456789ab", "").Want(t, 404, fault.NotFound)
	only := g.Op("GET", "/v1/operator-tokens", "").JSON["data"].([]any)[0].(map[string]any)["id"].(string)
	g.Op("DELETE", "/v1/operator-tokens/"+only, "").Want(t, 409, fault.WouldLockOut)
	a := g.Op("DELETE", "/v1/operator-tokens/"+only+"?force=true", "").Want(t, 200)
	if a.JSON["revocation"] == nil {
		t.Errorf("%s", a.Body)
	}
	g.Op("GET", "/v1/accounts", "").Want(t, 401)
}

// A token that is gone is told apart from a key that was copied badly.
func TestTokenThatIsGone(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("POST", "/v1/operator-tokens", `{"name":"ci"}`).Want(t, 201)
	id, token := a.Text("id"), a.Text("token")
	g.Do(g.Admin.URL, "GET", "/v1/keys", token, "").Want(t, 200)
	g.Op("DELETE", "/v1/operator-tokens/"+id, "").Want(t, 200)
	if a := g.Do(g.Admin.URL, "GET", "/v1/keys", token, "").Want(t, 401, fault.InvalidKey); !strings.Contains(a.Message(), "operator token") {
		t.Errorf("%s", a.Body)
	}
	g.Do(g.Admin.URL, "GET", "/v1/keys", "nonsense", "").Want(t, 401, fault.MalformedKey)
}
