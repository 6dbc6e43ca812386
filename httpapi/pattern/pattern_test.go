package pattern

import (
	"slices"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no string // paths, separated by spaces
	}{
		{"/", "/ /a /a/b //", ""},
		{"/v1", "/v1 /v1/ /v1/a /v1/a/b //v1 /v%31 /v1//a", "/v1a /v /v2 /V1 /a/v1 /"},
		{"/v1/", "/v1 /v1/ /v1/a", "/v1a /"},
		{"GET /v1", "/v1 //v1", "/v1/ /v1/a /v1a"},
		{"/v1{$}", "/v1", "/v1/ /v1/a"},
		{"/v1/{$}", "/v1/ /v1//", "/v1 /v1/a"},
		{"/{$}", "/ //", "/a"},
		{"GET /", "/ /a", ""},
		{"/a/{x}", "/a/b /a/%20 /a/b%2Fc", "/a /a/ /a/b/ /a/b/c"},
		{"/a/{x}/", "/a/b /a/b/ /a/b/c", "/a/ /a"},
		{"/a/{x}/c", "/a/b/c", "/a/b /a/b/d /a/b/c/ /a/c"},
		{"/a/{x...}", "/a/ /a/b /a/b/c", "/a /ab"},
		{"/{x...}", "/ /a /a/b", ""},
		{"/ü", "/%C3%BC /ü", "/u"},
	} {
		p, err := Parse(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, path := range strings.Fields(c.yes) {
			if !p.MatchPath(path) {
				t.Errorf("%s does not match %s", c.pattern, path)
			}
		}
		for _, path := range strings.Fields(c.no) {
			if p.MatchPath(path) {
				t.Errorf("%s matches %s", c.pattern, path)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, reason := range map[string]string{
		"":               `must begin with "/"`,
		"v1":             `must begin with "/"`,
		"host/v1":        `must begin with "/"`,
		"GET":            `must begin with "/"`,
		"get /v1":        `"get" is not a method`,
		" /v1":           `"" is not a method`,
		"CONNECT /":      `"CONNECT" is not a method`,
		"TRACE /":        `"TRACE" is not a method`,
		"G(T /":          `"G(T" is not a method`,
		"/a?b":           "decoded",
		"/a\u200bb":      "U+200B",
		"/a\u202e/":      "U+202E",
		"/a#b":           "decoded",
		"/a%20b":         "decoded",
		`/a\b`:           "decoded",
		"GET /a b":       "decoded",
		"/a//b":          "empty or dot segment",
		"/a/./b":         "empty or dot segment",
		"/a/..":          "empty or dot segment",
		"/{a":            "whole segment",
		"/a}":            "whole segment",
		"/{a}b":          "whole segment",
		"/{}":            "whole segment",
		"/{1a}":          "whole segment",
		"/{a-b}":         "whole segment",
		"/{$}/a":         "whole segment",
		"/{a}/{a}":       `"a" appears twice`,
		"/{a}/{a...}":    `"a" appears twice`,
		"/{a...}/b":      "must come last",
		"/{a...}/":       "must come last",
		"/{a...}/{$}":    "must come last",
		"GET  /{a}b/{c}": "whole segment",
	} {
		if p, err := Parse(text); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %+v, %v; must be refused with %q", text, p, err, reason)
		}
	}
}

func TestMethods(t *testing.T) {
	for _, c := range []struct {
		text, method string
		yes, no      string
	}{
		{"/v1", "", "GET HEAD POST get", ""},
		{"GET /v1", "GET", "GET HEAD", "POST get"},
		{"HEAD /v1", "HEAD", "HEAD", "GET"},
		{"POST  /v1", "POST", "POST", "HEAD GET"},
	} {
		p, err := Parse(c.text)
		if err != nil || p.Method() != c.method || p.String() != c.text {
			t.Fatalf("%q: %q %q, %v", c.text, p.Method(), p.String(), err)
		}
		if !p.MatchMethod("") {
			t.Errorf("%q does not take a method that is not known", c.text)
		}
		for _, m := range strings.Fields(c.yes) {
			if !p.MatchMethod(m) {
				t.Errorf("%q does not take %s", c.text, m)
			}
		}
		for _, m := range strings.Fields(c.no) {
			if p.MatchMethod(m) {
				t.Errorf("%q takes %s", c.text, m)
			}
		}
	}
}

// TestCompare sorts a list that is in order, the most specific first.
func TestCompare(t *testing.T) {
	order := []string{"/a/b/c", "/a/b/{x}", "/a/b/{$}", "GET /a/b", "/a/b{$}", "/a/b/{x...}", "/a/b/", "/a/{x}/c", "/a/{x}{$}", "/a", "/{x}/b", "/{x}{$}", "/{$}", "GET /", "/"}
	var sorted []Pattern
	for _, text := range order {
		p, err := Parse(text)
		if err != nil && text != "/a/{x}{$}" && text != "/{x}{$}" {
			t.Fatal(text, err)
		}
		if err != nil {
			p = Compile(text)
		}
		sorted = append(sorted, p)
	}
	slices.Reverse(sorted)
	slices.SortFunc(sorted, func(a, b Pattern) int { return Compare(&a, &b) })
	for i := range sorted {
		if sorted[i].text != order[i] {
			t.Errorf("place %d: %q, want %q", i, sorted[i].text, order[i])
		}
	}
}

func TestStripPrefix(t *testing.T) {
	for _, c := range [][3]string{
		{"/api/v1", "/api", "/v1"},
		{"/api", "/api", "/"},
		{"/api/", "/api", "/"},
		{"/api/", "/api/", "/"},
		{"//api//v1", "/api/", "//v1"},
		{"/a%70i/x%2Fy", "/api", "/x%2Fy"},
		{"/apis/v1", "/api", "/apis/v1"},
		{"/v1", "/v1/x", "/v1"},
		{"/%zz/a", "/b", "/%zz/a"},
		{"/a b", "/", "/a b"},
		{"", "/", "/"},
	} {
		if got := StripPrefix(c[0], c[1]); got != c[2] {
			t.Errorf("%q without %q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// TestSize holds to the bound that the store counts for a compiled route: 64
// bytes, and 16 for a segment, which is two bytes of text at least.
func TestSize(t *testing.T) {
	for _, text := range []string{"/", "/a", "/a/b/c", "////a////", "/{a}/{b...}"} {
		p := Compile(text)
		if got := cap(p.segs); got > len(text)/2+1 {
			t.Errorf("%q: room for %d segments", text, got)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	set := NewSet([]string{"GET /v1/models", "/v1/files/{id}", "/v1/chat/{rest...}"})
	if n := testing.AllocsPerRun(100, func() { set.Allow("POST", "/v1/chat/completions", "/v1/") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAllow asks a key with three routes, the last of which covers.
func BenchmarkAllow(b *testing.B) {
	set := NewSet([]string{"GET /v1/models", "/v1/files/{id}", "/v1/chat/{rest...}"})
	b.ReportAllocs()
	for b.Loop() {
		if !set.Allow("POST", "/v1/chat/completions", "/v1/") {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Compile("GET /v1/files/{id}/content")
	}
}

func TestMayBegin(t *testing.T) {
	for _, c := range []struct {
		pattern, prefix string
		want            bool
	}{
		{"/v1/chat", "/v1", true}, {"/v1/chat", "/v1/chat", true}, {"/v1/chat", "/v1/chat/x", true}, {"/v1/chat", "/v2", false}, {"/v1/chat", "/v", false},
		{"/", "/anything/at/all", true}, {"/v1/", "/", true}, {"GET /v1", "/v1", true}, {"GET /v1", "/v1/x", false}, {"/v1/{$}", "/v1/x", false},
		{"/{a}/b", "/x", true}, {"/{a}/b", "/x/b", true}, {"/{a}/b", "/x/c", false}, {"/{a...}", "/x/y", true}, {"/v1/{a...}", "/v2/y", false}, {"/v1/x{$}", "/v1/x", true},
	} {
		p, err := Parse(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if p.MayBegin(c.prefix) != c.want {
			t.Errorf("a path of %q may begin with %q: %v", c.pattern, c.prefix, !c.want)
		}
	}
}
