package httpapi_test

import (
	"fmt"
	"testing"

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
	for _, c := range []struct {
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
	}
}
