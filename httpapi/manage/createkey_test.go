package manage_test

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// longName is a character longer than a name may be.
var longName = strings.Repeat("x", 201)

// refusedKeys are bodies of POST /v1/keys, the status and code of the answer, and a
// part of its message. Status 0 is any 4xx.
var refusedKeys = []struct {
	body   string
	status int
	code   fault.Code
	names  string
}{
	{``, 400, fault.InvalidJSON, "empty"},
	{`{`, 400, fault.InvalidJSON, "byte 1"},
	{`{"name":"n","type":"test"} x`, 400, fault.InvalidJSON, "byte 27"},
	{`{"name":"n","type":"test"}{}`, 400, fault.InvalidJSON, "byte 26"},
	{`{"name":"n","type":"test",}`, 400, fault.InvalidJSON, ""},
	{`{"name":"\ud800","type":"test"}`, 400, fault.InvalidJSON, ""},
	{"{\"name\":\"\xff\",\"type\":\"test\"}", 400, fault.InvalidJSON, ""},
	{`{"name":"n","name":"m","type":"test"}`, 400, fault.DuplicateMember, "name"},
	{`{"name":"n","type":"test","metadata":{"a":"1","a":"2"}}`, 400, fault.DuplicateMember, "metadata.a"},
	{`[]`, 422, fault.InvalidValue, "an object"},
	{`null`, 422, fault.InvalidValue, "object"},
	{`"x"`, 422, fault.InvalidValue, "an object"},
	{`{"type":"test"}`, 422, fault.InvalidValue, "name"},
	{`{"name":"n"}`, 422, fault.InvalidValue, "type"},
	{`{"name":null,"type":"test"}`, 422, fault.InvalidValue, "name"},
	{`{"name":"","type":"test"}`, 422, fault.InvalidValue, "name"},
	{`{"name":"  ","type":"test"}`, 422, fault.InvalidValue, "name"},
	{`{"name":"a\u0000b","type":"test"}`, 422, fault.InvalidValue, "name"},
	{`{"name":"` + longName + `","type":"test"}`, 422, fault.InvalidValue, "name"},
	{`{"name":5,"type":"test"}`, 422, fault.InvalidValue, "name: must be a string"},
	{`{"name":"n","type":"prod"}`, 422, fault.InvalidValue, "type"},
	{`{"name":"n","type":1}`, 422, fault.InvalidValue, "type"},
	{`{"Name":"n","type":"test"}`, 422, fault.UnknownField, "Name"},
	{`{"name":"n","type":"test","limit":{}}`, 422, fault.UnknownField, "limit"},
	{`{"name":"n","type":"test","limits":{"burst":1,"x":1}}`, 422, fault.UnknownField, "limits.x"},
	{`{"name":"n","type":"test","limits":5}`, 422, fault.InvalidValue, "limits: must be an object"},
	{`{"name":"n","type":"test","limits":{"requests_per_minute":"5"}}`, 422, fault.InvalidValue, "limits.requests_per_minute"},
	{`{"name":"n","type":"test","limits":{"requests_per_minute":1.5}}`, 422, fault.InvalidValue, "limits.requests_per_minute"},
	{`{"name":"n","type":"test","limits":{"requests_per_minute":0}}`, 422, fault.InvalidValue, "limits.requests_per_minute"},
	{`{"name":"n","type":"test","limits":{"requests_per_month":99999999999999999999}}`, 422, fault.InvalidValue, "limits.requests_per_month"},
	{`{"name":"n","type":"test","limits":{"burst":5}}`, 422, fault.InvalidValue, "limits.burst"},
	{`{"name":"n","type":"test","scopes":[]}`, 422, fault.InvalidValue, "scopes"},
	{`{"name":"n","type":"test","scopes":"read"}`, 422, fault.InvalidValue, "scopes: must be an array"},
	{`{"name":"n","type":"test","scopes":["a b"]}`, 422, fault.InvalidValue, "scopes.0"},
	{`{"name":"n","type":"test","scopes":["read","a\"b"]}`, 422, fault.InvalidValue, "scopes.1"},
	{`{"name":"n","type":"test","expires_at":"2020-01-01T00:00:00Z"}`, 422, fault.InvalidValue, "expires_at"},
	{`{"name":"n","type":"test","expires_at":"tomorrow"}`, 422, fault.InvalidValue, "expires_at"},
	{`{"name":"n","type":"test","expires_at":5}`, 422, fault.InvalidValue, "expires_at"},
	{`{"name":"n","type":"test","max_cost_per_call":-1}`, 422, fault.InvalidValue, "max_cost_per_call"},
	{`{"name":"n","type":"test","max_cost_per_call":0}`, 422, fault.InvalidValue, "max_cost_per_call"},
	{`{"name":"n","type":"test","max_cost_per_call":"1"}`, 422, fault.InvalidValue, "max_cost_per_call: must be a number"},
	{`{"name":"n","type":"test","max_cost_per_call":{"x":[1,2]}}`, 422, fault.InvalidValue, "max_cost_per_call: must be a number"},
	{`{"name":"n","type":"test","monthly_budget":0.0000000001}`, 422, fault.InvalidValue, "monthly_budget"},
	{`{"name":"n","type":"test","monthly_budget":1e99}`, 422, fault.InvalidValue, "monthly_budget"},
	{`{"name":"n","type":"test","allowlist":["203.0.113.0/33","1.2.3.4","nonsense"]}`, 422, fault.InvalidValue, "allowlist.0"},
	{`{"name":"n","type":"test","allowlist":["203.0.113.0/33","1.2.3.4","nonsense"]}`, 422, fault.InvalidValue, "allowlist.2"},
	{`{"name":"n","type":"test","routes":["chat"]}`, 422, fault.InvalidValue, "routes.0"},
	{`{"name":"n","type":"test","routes":["/a b"]}`, 422, fault.InvalidValue, "routes.0"},
	{`{"name":"n","type":"test","metadata":{"a":1}}`, 422, fault.InvalidValue, "metadata.a"},
	{`{"name":"n","type":"test","metadata":["a"]}`, 422, fault.InvalidValue, "metadata"},
	{`{"name":"n","type":"test","environment":"` + longName + `"}`, 422, fault.InvalidValue, "environment"},
	{`{"name":"n","type":"test","key":"pk_test_x"}`, 422, fault.UnknownField, "key"},
	{strings.Repeat("[", 50_000), 0, "", ""},
	{`{"name":"n","type":"test","limits":` + strings.Repeat(`{"a":`, 20_000), 0, "", ""},
}

func TestCreateRefuses(t *testing.T) {
	g := apitest.New(t)
	for _, c := range refusedKeys {
		a := g.Op("POST", "/v1/keys", c.body, "Content-Type", "application/json")
		if c.status == 0 {
			if a.Status < 400 || a.Status > 499 {
				t.Errorf("%.120s: %d", c.body, a.Status)
			}
			continue
		}
		if a.Status != c.status || a.Code() != string(c.code) || !strings.Contains(a.Message(), c.names) {
			t.Errorf("%.120s\n\tanswered %d %s %q, want %d %s %q", c.body, a.Status, a.Code(), a.Message(), c.status, c.code, c.names)
		}
	}
	if n := g.Backend.Proposed.Load(); n != 0 {
		t.Errorf("%d commands were proposed by refused bodies", n)
	}
}

// The frame of a body is checked before its content.
func TestCreateChecksTheBody(t *testing.T) {
	g := apitest.New(t)
	big := `{"name":"n","type":"test","metadata":{"a":"` + strings.Repeat("x", rest.MaxBody) + `"}}`
	g.Op("POST", "/v1/keys", big).Want(t, 413, fault.BodyTooLarge)
	g.Op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Content-Type", "text/plain").Want(t, 415, fault.UnsupportedMediaType)
	g.Op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Content-Type", "application/json; charset=utf-8").Want(t, 201)
	g.Op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Content-Encoding", "gzip").Want(t, 415)
	g.Op("GET", "/v1/keys", "").Want(t, 200)
	if n := g.Backend.Proposed.Load(); n != 1 {
		t.Errorf("%d commands were proposed, want 1", n)
	}
}
