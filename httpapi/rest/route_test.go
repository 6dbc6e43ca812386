package rest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestNewTablePanicsOnDuplicates(t *testing.T) {
	for _, c := range []struct {
		second Route
		panics string // "" is none
	}{
		{Route{ID: "b", Method: "GET", Path: "/v1/cluster"}, "GET /v1/cluster is registered twice, by a and by b"},
		{Route{ID: "a", Method: "POST", Path: "/v1/other"}, "a is registered twice, by a and by a"},
		{Route{ID: "b", Method: "POST", Path: "/v1/cluster"}, ""},
		{Route{ID: "b", Method: "GET", Path: "/v1/cluster/nodes"}, ""},
	} {
		if got := panics(&Route{ID: "a", Method: "GET", Path: "/v1/cluster"}, &c.second); !strings.Contains(got, c.panics) || (got == "") != (c.panics == "") {
			t.Errorf("%+v: panic %q, want %q", c.second, got, c.panics)
		}
	}
	// Two names of one variable make no difference.
	if got := panics(&Route{ID: "a", Method: "GET", Path: "/v1/keys/{id}"}, &Route{ID: "b", Method: "GET", Path: "/v1/keys/{name}"}); got == "" {
		t.Error("one path with two names of its variable is registered twice")
	}
}

func panics(routes ...*Route) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprint(p)
		}
	}()
	NewTable(routes...)
	return ""
}

func TestFind(t *testing.T) {
	table := NewTable(
		&Route{ID: "list", Method: "GET", Path: "/v1/keys"},
		&Route{ID: "create", Method: "POST", Path: "/v1/keys"},
		&Route{ID: "get", Method: "GET", Path: "/v1/keys/{id}"},
		&Route{ID: "verify", Method: "POST", Path: "/v1/keys/verify"},
		&Route{ID: "rotate", Method: "POST", Path: "/v1/keys/{id}/rotate"},
		&Route{ID: "remove", Method: "DELETE", Path: "/v1/cluster/nodes/{name}"},
		&Route{ID: "livez", Method: "GET", Path: "/livez"},
	)
	for _, c := range []struct{ method, path, id, param, allow string }{
		{"GET", "/v1/keys", "list", "", ""},
		{"HEAD", "/v1/keys", "list", "", ""},
		{"PUT", "/v1/keys", "", "", "GET, HEAD, POST"},
		{"GET", "/v1/keys/key_1", "get", "key_1", ""},
		{"POST", "/v1/keys/verify", "verify", "", ""},
		{"GET", "/v1/keys/verify", "", "", "POST"},
		{"POST", "/v1/keys/verify/rotate", "", "", ""},
		{"POST", "/v1/keys/key_1/rotate", "rotate", "key_1", ""},
		{"DELETE", "/v1/cluster/nodes/verify", "remove", "verify", ""},
		{"GET", "/livez", "livez", "", ""},
		{"GET", "/v1/livez", "", "", ""},
		{"GET", "/keys", "", "", ""},
		{"GET", "/v1/keys/", "", "", ""},
		{"GET", "/v1/keys/..", "", "", ""},
		{"GET", "/v1/keys/a%2Fb", "", "", ""},
		{"GET", "/v1/keys/%61", "", "", ""},
		{"GET", "/v1/keys/" + strings.Repeat("x", 128), "get", strings.Repeat("x", 128), ""},
		{"GET", "/v1/keys/" + strings.Repeat("x", 129), "", "", ""},
		{"GET", "/", "", "", ""},
	} {
		u, err := url.ParseRequestURI(c.path) // as a server does: no dots are resolved
		if err != nil {
			t.Fatal(err)
		}
		rt, param, allow := table.Find(c.method, u)
		id := ""
		if rt != nil {
			id = rt.ID
		}
		if id != c.id || param != c.param || allow != c.allow {
			t.Errorf("%s %s: %q %q, Allow %q; want %q %q, Allow %q", c.method, c.path, id, param, allow, c.id, c.param, c.allow)
		}
	}
}
