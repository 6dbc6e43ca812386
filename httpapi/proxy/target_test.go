package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/pattern"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// TestLikeServeMux compares with the standard library where the two promise the
// same: patterns with a method, requests with clean paths.
func TestLikeServeMux(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "{x}"})
	ending := rapid.SampledFrom([]string{"", "/", "/{r...}", "/{$}"})
	rapid.Check(t, func(t *rapid.T) {
		mux := http.NewServeMux()
		var routes []Route
		for i := range rapid.IntRange(1, 6).Draw(t, "patterns") {
			var b strings.Builder
			b.WriteString(rapid.SampledFrom([]string{"GET ", "POST "}).Draw(t, "method"))
			for j := range rapid.IntRange(0, 3).Draw(t, "segments") {
				s := segment.Draw(t, "segment")
				b.WriteString("/" + strings.Replace(s, "x", fmt.Sprint("x", j), 1))
			}
			e := ending.Draw(t, "end")
			if strings.HasSuffix(b.String(), " ") && e == "" {
				e = "/"
			}
			b.WriteString(e)
			if !registers(mux, b.String()) {
				continue // it conflicts with one before it; we take the first
			}
			routes = append(routes, Route{Path: b.String(), Upstreams: []string{fmt.Sprintf("http://h%d", i)}})
		}
		table, err := Compile(routes, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			path := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 4).Draw(t, "path"), "/")
			if path != "/" && rapid.Bool().Draw(t, "slash") {
				path += "/"
			}
			method := rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PUT"}).Draw(t, "request")
			r := httptest.NewRequest(method, path, nil)
			h, want := mux.Handler(r)
			if strings.Contains(fmt.Sprintf("%T", h), "redirect") {
				continue // to the subtree at path + "/", which we serve, or which is less specific than our match
			}
			got := ""
			if found, _ := table.match("", path, method); found != nil {
				got = found.rule.Route
			}
			if strings.HasSuffix(got, "/") && !strings.HasSuffix(path, "/") && strings.Count(got, "/") > strings.Count(path, "/") {
				continue // the subtree's own root, for which ServeMux has something less specific
			}
			if got != want {
				t.Fatalf("%s %s: %q, ServeMux says %q, of %v", method, path, got, want, routes)
			}
		}
	})
}

func registers(mux *http.ServeMux, pattern string) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	return
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/a/b", "/%2e%2e/", "/a%252f..", "//a", "/%", "/%zz", "/a;b/..;/", "/\xc0\xae"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		r := h1.RequestOf(&http.Request{Method: "GET", URL: u, RequestURI: target})
		encodedSlash, fault := checkTarget(r)
		if fault != nil {
			return
		}
		// However often an upstream decodes, it finds no dot segment, and no slash that
		// was not reported.
		path := u.Path
		for range 5 {
			for seg := range strings.SplitSeq(strings.ReplaceAll(path, "\\", "/"), "/") {
				if seg == ".." || seg == "." {
					t.Fatalf("%q hides a dot segment in %q", target, path)
				}
			}
			next := pattern.Unescape(path)
			if !encodedSlash && strings.Count(next, "/") != strings.Count(u.EscapedPath(), "/") {
				t.Fatalf("%q hides a slash in %q", target, next)
			}
			path = next
		}
	})
}
