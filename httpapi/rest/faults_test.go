package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// box is a body with every kind of member that can be wrong.
type box struct {
	Name  *string             `json:"name"`
	Size  *int                `json:"size"`
	Sub   struct{ A, B *int } `json:"sub"`
	Tags  []string            `json:"tags"`
	Words map[string]string   `json:"words"`
}

func (b *box) Check(*rest.Call) error {
	var faults fault.List
	if b.Name == nil {
		faults.Add(rest.Invalid("name", "is required"))
	}
	if b.Size != nil && *b.Size < 0 {
		faults.Add(rest.Invalid("size", "must be positive"))
	}
	for _, w := range slices.Sorted(maps.Keys(b.Words)) {
		if w == "" || strings.Contains(w, "/") {
			faults.Add(rest.InvalidMember("words", w, "is no word"))
		}
	}
	return faults.Err()
}

// All faults of a body are told at once, each with its place.
func TestAllFaults(t *testing.T) {
	f := apitest.New(t).Frame()
	rt := rest.Route{Access: rest.Open, Serve: rest.WithBody(func(c *rest.Call, in *box) (string, error) { return "ok", in.Check(c) })}
	const secret = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	for _, c := range []struct{ body, code, params string }{
		{`{"name":"n"}`, "", ""},
		{`{}`, "invalid_value", "/name"},
		{`{"size":-1}`, "invalid_value", "/name /size"},
		{`{"name":5,"size":"x"}`, "invalid_value", "/name /size"},
		{`{"name":5,"size":-1}`, "invalid_value", "/name /size"},
		{`{"colour":1,"shape":{},"size":-1}`, "unknown_field", "/colour /shape /name /size"},
		{`{"name":"n","sub":{"A":"x","B":[],"C":1}}`, "invalid_value", "/sub/A /sub/B /sub/C"},
		{`{"name":"n","tags":["a",1,{}],"size":null,"words":{"a":1,"b":"","c/d":"","":"x"}}`, "invalid_value", "/tags/1 /words/a /words/ /words/c~1d"},
		{`{"name":"n","words":{"c/d":"","~":1}}`, "invalid_value", "/words/~0 /words/c~1d"},
		{`{"name":"n","words":{"c/d":""}}`, "invalid_value", "/words/c~1d"},
		{`{"name":"n","name":"m","x":1}`, "duplicate_member", "/name"},
		{`{"x":1,"size":-1} {}`, "invalid_json", ""},
		{`{"x":1,"y":1,"y":2}`, "duplicate_member", "/y"},
		{`[]`, "invalid_value", ""},
		{`{"name":"n","` + secret + `":1}`, "unknown_field", "/pk_live_0123…STUV"},
	} {
		w := serve(f, rt, c.body)
		var doc struct{ Error fault.Body }
		if err := json.Unmarshal(w.Body.Bytes(), &doc); c.code != "" && err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		var params []string
		for _, d := range (&fault.Error{Code: "x", Param: doc.Error.Param, Errors: doc.Error.Errors}).Details() {
			params = append(params, d.Param)
		}
		if string(doc.Error.Code) != c.code || strings.Join(params, " ") != c.params || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s: %d %s", c.body, w.Code, w.Body)
		}
		if len(params) > 1 && doc.Error.Param != params[0] || len(doc.Error.Errors) == 1 {
			t.Errorf("%s: param %q beside %v", c.body, doc.Error.Param, doc.Error.Errors)
		}
	}
}

// The search for more faults is bounded.
func TestManyFaults(t *testing.T) {
	f := apitest.New(t).Frame()
	rt := rest.Route{Access: rest.Open, Serve: rest.WithBody(func(_ *rest.Call, in *box) (string, error) { return "ok", nil })}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf(`"x%03d":1`, i))
	}
	for body, want := range map[string]int{
		"{" + strings.Join(many, ",") + "}":                          20,
		`{"x":1,"y":2,"name":"` + strings.Repeat("x", 70<<10) + `"}`: 1,
		`{"x":1,"y":2,"name":"` + strings.Repeat("x", 60<<10) + `"}`: 2,
	} {
		got := fault.Decode(serve(f, rt, body).Result())
		if len(got.Details()) != want || got.Code != fault.UnknownField {
			t.Errorf("%.30s: %d faults, want %d: %v", body, len(got.Details()), want, got)
		}
	}
}

// The faults of a query are told at once too, by the names of its parameters.
func TestQueryFaults(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("GET", "/v1/keys?limit=%2B5&type=prod&sort=x&foo=1&name=a&name=b", "").Want(t, 422, fault.UnknownField)
	var doc struct{ Error fault.Body }
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &doc))
	var params []string
	for _, d := range doc.Error.Errors {
		params = append(params, d.Param)
	}
	if got := strings.Join(params, " "); got != "foo name limit type sort" {
		t.Errorf("%s: %s", got, a.Body)
	}
}

// A refusal of the state names its member too.
func TestRefusalParam(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	for _, c := range []struct{ method, path, body, params string }{
		{"POST", "/v1/ratelimit", `{"identifier":"","limit":0,"window":"x","units":-1}`, "/identifier /limit /window /units"},
		{"POST", "/v1/keys/verify", `{"key":"","ip":"x","path":"x","units":-1}`, "/key /ip /path /units"},
		{"PATCH", "/v1/keys/" + id, `{"name":"","state":"gone","limits":{"burst":5},"scopes":["a,b"],"routes":["x"],"metadata":{"a":"\u0000"}}`, "/state /name /limits/burst /scopes/0 /routes/0 /metadata/a"},
		{"POST", "/v1/keys/revoke", `{"ids":["x"],"created_by":"","reason":"\u0000"}`, "/created_by /ids/0 /reason"},
		{"POST", "/v1/accounts", `{"tier":"No Such","limits":{"burst":0},"retention_days":1}`, "/name /tier /limits/burst /retention_days"},
		{"POST", "/v1/accounts", `{"name":"a","tier":"nosuch"}`, "/tier"},
		{"PATCH", "/v1/account", `{"name":null,"retention_days":1000,"alert_thresholds":[0]}`, "/name /retention_days /alert_thresholds"},
		{"POST", "/v1/tiers", `{"name":"A","live":{"burst":0}}`, "/name /live/burst /test"},
		{"PATCH", "/v1/tiers/free", `{"live":null,"test":{"burst":0}}`, "/live /test/burst"},
		{"PUT", "/v1/allowlist", `{"entries":[{"cidr":"x"},{"cidr":"y"}]}`, "/entries/0 /entries/1"},
		// A member that cannot be read hides no value that is wrong.
		{"POST", "/v1/ratelimit", `{"identifier":"","limit":"x","window":"x","colour":1}`, "/limit /colour /identifier /window"},
		{"POST", "/v1/keys/verify", `{"key":"k","ip":"x","path":5,"units":-1,"colour":1}`, "/path /colour /ip /units"},
		{"POST", "/v1/keys/" + id + "/rotate", `{"overlap":"x","colour":1}`, "/colour /overlap"},
		{"POST", "/v1/keys/" + id + "/revoke", `{"reason":"\u200b","chain":"x","colour":1}`, "/chain /colour /reason"},
		{"PUT", "/v1/allowlist", `{"entries":[{"cidr":"x"},{"cidr":"192.0.2.1","colour":1},{"cidr":5},{"cidr":"192.0.2.2","note":"\u200b"}],"force":1}`,
			"/entries/1/colour /entries/2/cidr /force /entries/0 /entries/3"},
	} {
		a := g.Op(c.method, c.path, c.body).Want(t, 422)
		var doc struct{ Error fault.Body }
		apitest.Must(t, json.Unmarshal([]byte(a.Body), &doc))
		var params []string
		for _, d := range (&fault.Error{Param: doc.Error.Param, Errors: doc.Error.Errors}).Details() {
			params = append(params, d.Param)
		}
		if got := strings.Join(params, " "); got != c.params {
			t.Errorf("%s %s %s\n\tnames %s, want %s: %s", c.method, c.path, c.body, got, c.params, a.Body)
		}
	}
}
