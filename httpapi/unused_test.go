package httpapi_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/proxy"
)

// A scope or route of a key that no route of the proxy looks at is taken, and warned
// about where it was sent.
func TestUnusedScopesAndRoutesAreWarnedAbout(t *testing.T) {
	g := newGateway(t,
		proxy.Route{Path: "/v1/chat", Require: []string{"chat"}}, proxy.Route{Path: "GET /v1/models/{id}"},
		proxy.Route{Path: "/posts", Methods: []string{"POST"}, Host: "h.example", Require: []string{"write", "post"}},
	)
	scope := func(s string) string { return fmt.Sprintf("no route of this node requires the scope %q", s) }
	route := func(s string) string { return fmt.Sprintf("no route of this node takes a request that %q covers", s) }
	for i, c := range []struct {
		settings string
		want     []string
	}{
		{``, nil},
		{`"scopes":["read","write","verify","limit","admin"]`, nil},
		{`"scopes":["read","chat","post"],"routes":[]`, nil},
		{`"scopes":["raed","chat"]`, []string{scope("raed")}},
		{`"routes":["/v1/chat","/v1/","/","/v1/chat/x","GET /v1/chat","/{any}/models/gpt","POST /posts","GET /v1/models/{id}"]`, nil},
		{`"routes":["/v1/chta","/v1/chat"]`, []string{route("/v1/chta")}},
		{`"routes":["POST /v1/models/","GET /posts","/v1/models/a/b","HEAD /v1/models/x"]`, []string{route("/v1/models/a/b"), route("GET /posts"), route("POST /v1/models/")}},
		{`"scopes":["x"],"routes":["/x"]`, []string{scope("x"), route("/x")}},
	} {
		check := func(call string, got any) {
			t.Helper()
			want := any(nil)
			if c.want != nil {
				list := []any{}
				for _, w := range c.want {
					list = append(list, w)
				}
				want = list
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s {%s}: %v, want %v", call, c.settings, got, want)
			}
		}
		more := ""
		if c.settings != "" {
			more = "," + c.settings
		}
		created := g.Op("POST", "/v1/keys", `{"name":"n","type":"live"`+more+`}`).Want(t, 201)
		check("POST", created.JSON["warnings"])
		path := "/v1/keys/" + created.Text("id")
		check("PATCH", g.Op("PATCH", path, "{"+c.settings+"}").Want(t, 200).JSON["warnings"])
		if a := g.Op("PATCH", path, `{"name":"other"}`).Want(t, 200); a.JSON["warnings"] != nil {
			t.Errorf("a change of the name alone warns: %s", a.Body)
		}
		if a := g.Op("GET", path, "").Want(t, 200); a.JSON["warnings"] != nil {
			t.Errorf("GET {%s}: %s", c.settings, a.Body)
		}
		check("rotate", g.Op("POST", path+"/rotate", "").Want(t, 201).JSON["warnings"])
		imported := g.Op("POST", "/v1/keys/import", fmt.Sprintf(`{"name":"n","type":"live","key":"sk-foreign-%010d"%s}`, i, more)).Want(t, 200)
		check("import", imported.JSON["data"].([]any)[0].(map[string]any)["warnings"])
	}
}

// An import warns of each scope and route once, at the first line that was imported with
// it, and of a bounded number in all.
func TestImportWarnsOnce(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/v1/chat", Require: []string{"chat"}})
	line := func(key, settings string) string {
		return fmt.Sprintf(`{"name":"n","type":"live","key":"sk-foreign-%s",%s}`, key, settings)
	}
	send := func(lines ...string) (warnings [][]string) {
		a := g.Op("POST", "/v1/keys/import", strings.Join(lines, "\n"), "Idempotency-Key", fmt.Sprint(len(lines))).Want(t, 200)
		var out struct{ Data []client.ImportedLine }
		apitest.Must(t, json.Unmarshal([]byte(a.Body), &out))
		for _, l := range out.Data {
			warnings = append(warnings, l.Warnings)
		}
		return warnings
	}
	lines := []string{
		line("a", `"scopes":["refused"],"expires_at":"2001-01-01T00:00:00Z"`),
		line("aaaaaaaa", `"scopes":["raed","chat"]`),
		line("aaaaaaaa", `"scopes":["clash"]`),
		line("eeeeeeee", `"scopes":["taken"]`),
		line("bbbbbbbb", `"scopes":["raed","refused"],"routes":["/v1/chta","/v1/chat"]`),
		line("cccccccc", `"scopes":["raed"],"routes":["/v1/chta"]`),
	}
	const scope, route = "no route of this node requires the scope %q", "no route of this node takes a request that %q covers"
	send(line("eeeeeeee", `"scopes":["chat"]`)) // the key of a later line
	want := [][]string{nil, {fmt.Sprintf(scope, "raed")}, nil, nil, {fmt.Sprintf(scope, "refused"), fmt.Sprintf(route, "/v1/chta")}, nil}
	for range 2 { // a repeat too
		if got := send(lines...); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	var many []string
	for i := range 3 {
		var scopes []string
		for n := range 40 {
			scopes = append(scopes, fmt.Sprintf(`"s%d-%d"`, i, n))
		}
		many = append(many, line(fmt.Sprint("dddddddd", i), `"scopes":[`+strings.Join(scopes, ",")+`]`))
	}
	if got := send(many...); len(got[0]) != 40 || len(got[1]) != 40 || len(got[2]) != 20 {
		t.Errorf("%d, %d and %d warnings, want 100 in all", len(got[0]), len(got[1]), len(got[2]))
	}
}
