package admit

import (
	"net/http/httptest"
	"testing"
)

func TestMatchRoute(t *testing.T) {
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
		match := func(s string) bool {
			var method, target string
			for i := range s {
				if s[i] == ' ' {
					method, target = s[:i], s[i+1:]
					break
				}
			}
			r := httptest.NewRequest(method, "http://api.test"+target, nil)
			got := TargetOf(r)
			return MatchRoute(c.pattern, &got)
		}
		for _, s := range c.yes {
			if !match(s) {
				t.Errorf("%q does not cover %q", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if match(s) {
				t.Errorf("%q covers %q", c.pattern, s)
			}
		}
	}
	unknown := Target{Path: "/v1/models"}
	if !MatchRoute("GET /v1/models", &unknown) {
		t.Error("a method that is not known is held against the request")
	}
	if MatchRoute("/v1/", &Target{}) {
		t.Error("a path that is not known is covered")
	}
}

func FuzzMatchRoute(f *testing.F) {
	f.Add("GET /v1/{id}/{rest...}", "GET", "/v1/a%2Fb//c")
	f.Add("/{$}", "", "/")
	f.Add("/a/{}", "PUT", "/a/b")
	f.Fuzz(func(t *testing.T, pattern, method, path string) {
		target := Target{Method: method, Path: path}
		if MatchRoute(pattern, &target) && (len(path) == 0 || path[0] != '/') {
			t.Fatalf("%q covers the path %q", pattern, path)
		}
	})
}
