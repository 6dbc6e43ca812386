package pattern

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAllow(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string // "METHOD target"
	}{
		{"/", []string{"GET /", "GET /a/b", "PUT //"}, nil},
		{"/v1/models", []string{"GET /v1/models", "PUT /v1/models/", "GET /v1/models/x", "GET //v1//models"}, []string{"GET /v1/modelsx", "GET /v1", "GET /", "GET /v1%2Fmodels"}},
		{"GET /v1/models", []string{"GET /v1/models", "HEAD /v1/models"}, []string{"POST /v1/models", "GET /v1/models/x", "GET /v1/models/"}},
		{"/v1/files/", []string{"GET /v1/files", "GET /v1/files/", "GET /v1/files/a/b"}, []string{"GET /v1/filesx"}},
		{"POST /v1/files/", []string{"POST /v1/files/a"}, []string{"GET /v1/files/a"}},
		{"/v1/files/{id}", []string{"GET /v1/files/a", "GET /v1/files/a%2Fb"}, []string{"GET /v1/files", "GET /v1/files/", "GET /v1/files/a/b", "GET /v1/files/a/"}},
		{"/v1/{id}/parts/", []string{"GET /v1/a/parts", "GET /v1/a/parts/1/2"}, []string{"GET /v1/parts", "GET /v1/a/b"}},
		{"/v1/files/{rest...}", []string{"GET /v1/files/", "GET /v1/files/a/b"}, []string{"GET /v1/files", "GET /v1"}},
		{"/v1/files/{$}", []string{"GET /v1/files/"}, []string{"GET /v1/files", "GET /v1/files/a"}},
		{"/v1/files{$}", []string{"GET /v1/files"}, []string{"GET /v1/files/", "GET /v1/files/a"}},
		{"/{$}", []string{"GET /"}, []string{"GET /a"}},
		{"/a b", []string{}, []string{"GET /a%20b"}}, // a space ends the method
		{"/é", []string{"GET /%C3%A9", "GET /%c3%a9/x"}, []string{"GET /e"}},
		{"/100%", []string{"GET /100%25"}, []string{"GET /100", "GET /100%2525"}},
		{"v1", nil, []string{"GET /v1"}},
		{"", nil, []string{"GET /"}},
	} {
		set := NewSet([]string{c.pattern})
		allowed := func(s string) bool {
			method, target, _ := strings.Cut(s, " ")
			r := httptest.NewRequest(method, "http://api.test"+target, nil)
			return set.Allow(r.Method, r.URL.EscapedPath(), "no route")
		}
		for _, s := range c.yes {
			if !allowed(s) {
				t.Errorf("%q does not cover %q", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if allowed(s) {
				t.Errorf("%q covers %q", c.pattern, s)
			}
		}
	}
}

// Facts that a verifier does not know are not held against a request.
func TestUnknown(t *testing.T) {
	set := NewSet([]string{"GET /v1/models"})
	if !set.Allow("", "/v1/models", "") {
		t.Error("a method that is not known is held against the request")
	}
	if set.Allow("GET", "", "/v1/") {
		t.Error("a path that is not known is covered")
	}
	if set.Allow("GET", "v1/models", "") {
		t.Error("a path without its slash is covered")
	}
	if !set.Allow("GET", "", "") {
		t.Error("with neither path nor route known, something is held against the request")
	}
}

// The pattern of the route that matched allows by its text, even if it is not
// well formed.
func TestAllowByRoute(t *testing.T) {
	set := NewSet([]string{"/v2/", "odd", "/v1/"})
	for route, want := range map[string]bool{"/v1/": true, "odd": true, "/v1": false, "/v3/": false} {
		if got := set.Allow("POST", "/elsewhere", route); got != want {
			t.Errorf("route %q: %v, want %v", route, got, want)
		}
	}
	if (Set{}).Allow("GET", "/", "/") {
		t.Error("a set without routes allows something")
	}
}

func ExampleSet_Allow() {
	for _, text := range []string{"/v1/chat", "GET /v1/{kind}/{id}", "/v1/cha"} {
		fmt.Println(text, NewSet([]string{text}).Allow("GET", "/v1/chat/7", "/v1/"))
	}
	// Output:
	// /v1/chat true
	// GET /v1/{kind}/{id} true
	// /v1/cha false
}
