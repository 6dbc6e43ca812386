package rest_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

func TestETags(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	path := "/v1/keys/" + id
	tag := g.Op("GET", path, "").Header.Get("ETag")
	patch := func(match string) apitest.Answer { return g.Op("PATCH", path, `{"name":"m"}`, "If-Match", match) }
	for _, m := range []string{`"1"`, `"999999"`, "W/" + tag, `"x"`, `"0"`, `"1", "999"`} {
		patch(m).Want(t, 412, fault.PreconditionFailed)
	}
	for _, m := range []string{"5", `"5`, `x"5"`} {
		patch(m).Want(t, 400, fault.InvalidRequest)
	}
	a := patch(tag).Want(t, 200)
	if a.Header.Get("ETag") == tag {
		t.Error("the ETag stays after a change")
	}
	patch(tag).Want(t, 412)
	patch("*").Want(t, 200)
	tag = g.Op("GET", path, "").Header.Get("ETag")
	patch(`"1", `+tag+`, W/"3"`).Want(t, 200)
	tag = g.Op("GET", "/v1/account", "").Header.Get("ETag")
	g.Op("PATCH", "/v1/account", `{"name":"x"}`, "If-Match", `"1", `+tag).Want(t, 200)
	g.Op("PATCH", "/v1/account", `{"name":"y"}`, "If-Match", tag).Want(t, 412)
	tag = g.Op("GET", "/v1/allowlist", "").Header.Get("ETag")
	g.Op("PUT", "/v1/allowlist", `{"entries":[]}`, "If-Match", tag).Want(t, 200)
	g.Op("PUT", "/v1/allowlist", `{"entries":[]}`, "If-Match", tag).Want(t, 412)
	tag = g.Op("GET", "/v1/tiers/pro", "").Header.Get("ETag")
	g.Op("PATCH", "/v1/tiers/pro", `{"features":{"ip_allowlist":true}}`, "If-Match", tag).Want(t, 200)
	g.Op("PATCH", "/v1/tiers/pro", `{"features":{"ip_allowlist":true}}`, "If-Match", tag).Want(t, 412)
	g.Op("POST", path+"/revoke", "", "If-Match", `"1"`).Want(t, 412)
}

func TestCursors(t *testing.T) {
	g := apitest.New(t)
	var want []string
	for range 7 {
		id, _ := g.Key("test", "read")
		want = append(want, id)
	}
	var got []string
	for k, err := range g.Client().Keys(context.Background(), client.KeyFilter{Page: client.Page{Limit: 2}}) {
		apitest.Must(t, err)
		got = append(got, k.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	cursor := g.Op("GET", "/v1/keys?limit=2", "").Text("next_cursor")
	other := "A" // a cursor is base64url, and so is the changed one: it must reach the handler
	if cursor[3] == 'A' {
		other = "B"
	}
	changed := cursor[:3] + other + cursor[4:]
	for _, q := range []string{"cursor=x", "cursor=" + changed, "cursor=" + cursor[:len(cursor)-2], "type=test&cursor=" + cursor, "cursor=%20"} {
		g.Op("GET", "/v1/keys?"+q, "").Want(t, 400, fault.InvalidCursor)
	}
	g.Op("GET", "/v1/accounts?cursor="+cursor, "").Want(t, 400, fault.InvalidCursor)
	g.Op("GET", "/v1/keys?limit=1000&cursor="+cursor, "").Want(t, 200)
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	g.Op("GET", "/v1/keys?cursor="+cursor, "", rest.AccountHeader, acct).Want(t, 400, fault.InvalidCursor)
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "limit=", "limit=1&limit=2", "state=gone", "type=TEST", "colour=red", "a b=1"} {
		if a := g.Op("GET", "/v1/keys?"+strings.ReplaceAll(q, " ", "%20"), ""); a.Status != 422 {
			t.Errorf("%s: %d", q, a.Status)
		}
	}
	g.Op("GET", "/v1/keys?limit=1;type=test", "").Want(t, 400, fault.InvalidRequest)
	for q, n := range map[string]int{"type=live": 0, "state=active": 7, "environment=": 7, "environment=x": 0, "name=test%20key": 7, "created_by=nobody": 0} {
		a := g.Op("GET", "/v1/keys?"+q, "").Want(t, 200)
		if data := a.JSON["data"].([]any); len(data) != n || a.JSON["next_cursor"] != nil {
			t.Errorf("%s: %d keys", q, len(data))
		}
	}
}
