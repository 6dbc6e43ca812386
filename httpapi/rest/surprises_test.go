package rest_test

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// A call that takes no body refuses one with members instead of ignoring them: a deletion
// with {"dry_run":true} would be one.
func TestBodiesThatNoCallReads(t *testing.T) {
	g := apitest.New(t)
	id := g.Op("POST", "/v1/accounts", `{"name":"n"}`).Want(t, 201).Text("id")
	path := "/v1/accounts/" + id
	for _, body := range []string{`{"dry_run":true}`, `{"confirm":"no"}`} {
		a := g.Op("DELETE", path, body).Want(t, 422, fault.UnknownField)
		if !strings.Contains(a.Body, "is not a known field") {
			t.Errorf("%s: %s", body, a.Body)
		}
	}
	g.Op("DELETE", path, "reason=leaked").Want(t, 400, fault.InvalidJSON)
	g.Op("GET", path, `{"limit":1}`).Want(t, 200) // it reads; some clients send one
	for _, body := range []string{"", " \n", "{}"} {
		again := g.Op("POST", "/v1/accounts", `{"name":"n"}`).Want(t, 201).Text("id")
		g.Op("DELETE", "/v1/accounts/"+again, body).Want(t, 200)
	}
	g.Op("DELETE", path, "").Want(t, 200)
}

// A precondition that a change would ignore is refused, and changes nothing.
func TestPreconditionsAreNotIgnored(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	path := "/v1/keys/" + id
	for _, c := range []struct{ method, path, body, name, value string }{
		{"PATCH", path, `{"name":"changed"}`, "If-None-Match", "*"},
		{"PATCH", path, `{"name":"changed"}`, "If-Unmodified-Since", "Mon, 30 Nov 2020 00:00:00 GMT"},
		{"POST", path + "/revoke", "", "If-Modified-Since", "Mon, 30 Nov 2020 00:00:00 GMT"},
		{"POST", "/v1/keys", `{"name":"new","type":"test"}`, "If-Match", "*"},
		{"POST", "/v1/keys/revoke", `{"ids":["` + id + `"]}`, "If-Match", `"1"`},
	} {
		a := g.Op(c.method, c.path, c.body, c.name, c.value).Want(t, 400, fault.InvalidRequest)
		if !strings.Contains(a.Body, c.name) || !strings.Contains(a.Body, "Nothing was changed") {
			t.Errorf("%s %s with %s: %s", c.method, c.path, c.name, a.Body)
		}
	}
	a := g.Op("GET", path, "", "If-Match", `"nope"`).Want(t, 200) // a read is answered
	if a.Text("state") != "active" || a.Text("name") == "changed" {
		t.Errorf("a refused call has changed the key: %s", a.Body)
	}
	// One that is looked at holds, by a tag and by any.
	for _, match := range []string{"*", a.Header.Get("ETag")} {
		g.Op("PUT", "/v1/allowlist", `{"entries":[]}`, "If-Match", "*").Want(t, 200)
		g.Op("PATCH", "/v1/account", `{"name":"n"}`, "If-Match", "*").Want(t, 200)
		g.Op("POST", path+"/rotate", "", "If-Match", match)
	}
}

// A byte order mark before a body is no part of it, whatever the type.
func TestByteOrderMark(t *testing.T) {
	g := apitest.New(t)
	const mark = "\ufeff"
	g.Op("POST", "/v1/keys", mark+`{"name":"n","type":"test"}`).Want(t, 201)
	a := g.Op("POST", "/v1/keys/import", mark+`{"name":"n","type":"test","key":"an-imported-key-0123456789"}`+"\r\n").Want(t, 200)
	if !strings.Contains(a.Body, `"error":null`) {
		t.Errorf("an import: %s", a.Body)
	}
	g.Op("PATCH", "/v1/accounts/default", `{"tier":"enterprise"}`).Want(t, 200)
	g.Op("PUT", "/v1/allowlist", mark+"# ours\r\n127.0.0.0/8\r\n", "Content-Type", "text/plain").Want(t, 200)
	g.Op("POST", "/v1/keys", mark+mark+`{"name":"n","type":"test"}`).Want(t, 400, fault.InvalidJSON)
	g.Op("POST", "/v1/keys", mark).Want(t, 400, fault.InvalidJSON)
}

// An empty X-Perf-Account comes from a variable that is not set. The call would change the
// account default instead.
func TestEmptyAccountHeader(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "X-Perf-Account", "").Want(t, 400, fault.InvalidRequest)
	if !strings.Contains(a.Body, "X-Perf-Account is empty") {
		t.Errorf("%s", a.Body)
	}
	g.Op("GET", "/v1/tiers", "", "X-Perf-Account", "").Want(t, 200) // concerns no account
}

// A GET whose client has the present state is answered without it.
func TestIfNoneMatch(t *testing.T) {
	g := apitest.New(t)
	g.Op("POST", "/v1/tiers", `{"name":"gold","live":{},"test":{}}`).Want(t, 201)
	const path = "/v1/tiers/gold"
	tag := g.Op("GET", path, "").Want(t, 200).Header.Get("ETag")
	for _, list := range []string{tag, "W/" + tag, `"0", ` + tag, "*"} {
		if a := g.Op("GET", path, "", "If-None-Match", list).Want(t, 304); a.Body != "" || a.Header.Get("ETag") != tag {
			t.Errorf("%s: %q, %v", list, a.Body, a.Header)
		}
	}
	for _, list := range []string{`"1"`, "x", ""} {
		g.Op("GET", path, "", "If-None-Match", list).Want(t, 200)
	}
	g.Op("PATCH", path, `{"features":{"ip_allowlist":true}}`).Want(t, 200)
	g.Op("GET", path, "", "If-None-Match", tag).Want(t, 200)

	// A key changes by time and use, too.
	id, _ := g.Key("live", "read")
	tag = g.Op("GET", "/v1/keys/"+id, "").Want(t, 200).Header.Get("ETag")
	g.Op("GET", "/v1/keys/"+id, "", "If-None-Match", tag).Want(t, 200)
}
