package pattern

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// covers is the grammar written down once more, slowly and straight from the
// text, as the first version matched the routes of keys: keys that were stored
// under it must go on meaning the same.
func covers(text, method, path string) bool {
	prefix := strings.IndexByte(text, '{') < 0
	if m, rest, ok := strings.Cut(text, " "); ok {
		if method != "" && method != m && !(method == http.MethodHead && m == http.MethodGet) {
			return false
		}
		text, prefix = strings.TrimLeft(rest, " \t"), false
	}
	if !strings.HasPrefix(text, "/") || !strings.HasPrefix(path, "/") {
		return false
	}
	text, end := strings.CutSuffix(text, "{$}")
	subtree := !end && (prefix || strings.HasSuffix(text, "/"))
	slash := end && strings.HasSuffix(text, "/")
	wanted := strings.FieldsFunc(text, func(c rune) bool { return c == '/' })
	root := len(wanted) == 0
	for i, want := range wanted {
		wild := want[0] == '{' && want[len(want)-1] == '}'
		if wild && i == len(wanted)-1 && !strings.HasSuffix(text, "/") && strings.HasSuffix(want, "...}") {
			return path != ""
		}
		path = strings.TrimLeft(path, "/")
		have, rest, more := strings.Cut(path, "/")
		if have == "" {
			return false
		}
		if decoded, err := url.PathUnescape(have); !wild && (err != nil || decoded != want) {
			return false
		}
		if path = ""; more {
			path = "/" + rest
		}
	}
	switch {
	case subtree:
		return true
	case slash:
		return path != "" && strings.Trim(path, "/") == ""
	}
	return path == "" || path == "/" && root
}

// texts draws patterns, well formed and not.
func texts(t *rapid.T) string {
	segment := rapid.SampledFrom([]string{"a", "b", "é", "100%", "{x}", "{y}", "{z...}", "{}", "{", "}", "{x}y", "{$}", ".", "..", "a b", "a?b", ""})
	text := "/" + strings.Join(rapid.SliceOfN(segment, 0, 4).Draw(t, "segments"), "/")
	if rapid.Bool().Draw(t, "glue") {
		text = strings.Replace(text, "/{$}", "{$}", 1)
	}
	return rapid.SampledFrom([]string{"", "", "GET ", "HEAD ", "POST ", "get ", " ", "GET \t", "host", "GET host"}).Draw(t, "method") + text
}

func paths(t *rapid.T) string {
	piece := rapid.SampledFrom([]string{"a", "b", "ab", "%61", "%C3%A9", "a%2Fb", "100%25", "", "%", "%zz", "a%20b", "a%3Fb", "{}", "{"})
	return rapid.SampledFrom([]string{"/", "/", "/", ""}).Draw(t, "slash") +
		strings.Join(rapid.SliceOfN(piece, 0, 4).Draw(t, "path"), "/")
}

// Every text has the meaning that it had when keys were stored with it.
func TestStoredRoutesKeepTheirMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, path := texts(t), paths(t)
		method := rapid.SampledFrom([]string{"", "GET", "HEAD", "POST", "get"}).Draw(t, "request")
		if path == "" {
			return // not known: see TestUnknown
		}
		if got, want := NewSet([]string{text}).Allow(method, path, "no route"), covers(text, method, path); got != want {
			t.Fatalf("%q allows %q %q: %v, as stored %v", text, method, path, got, want)
		}
	})
}

// A pattern has the same meaning among a key's routes and as a configured route.
func TestKeysAndRoutesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, path := texts(t), "/"+paths(t)
		p, err := Parse(text)
		if err != nil {
			return
		}
		method := rapid.SampledFrom([]string{"GET", "HEAD", "POST"}).Draw(t, "request")
		route := p.MatchPath(path) && p.MatchMethod(method)
		if key := NewSet([]string{text}).Allow(method, path, "no route"); key != route {
			t.Fatalf("%q %s %s: as a route %v, of a key %v", text, method, path, route, key)
		}
	})
}

// The order of patterns is one: it can be reversed, and it is transitive.
func TestCompareIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := Compile(texts(t)), Compile(texts(t)), Compile(texts(t))
		if Compare(&a, &b) != -Compare(&b, &a) {
			t.Fatalf("%q and %q: %d and %d", a.text, b.text, Compare(&a, &b), Compare(&b, &a))
		}
		if Compare(&a, &b) <= 0 && Compare(&b, &c) <= 0 && Compare(&a, &c) > 0 {
			t.Fatalf("%q ≤ %q ≤ %q, but not the first and the last", a.text, b.text, c.text)
		}
	})
}

// FuzzPattern: no text and no path make matching panic or disagree with the
// model, and a text that is well formed finds the requests that it spells out.
func FuzzPattern(f *testing.F) {
	f.Add("GET /v1/{id}/{rest...}", "GET", "/v1/a%2Fb//c")
	f.Add("/{$}", "", "/")
	f.Add("/a/{}", "PUT", "/a/b")
	f.Add("/a/b", "get", "//a//b")
	f.Add("POST \t/é{$}", "POST", "/%C3%A9")
	f.Fuzz(func(t *testing.T, text, method, path string) {
		got := NewSet([]string{text}).Allow(method, path, "no route")
		if want := path != "" && covers(text, method, path); path != "" && got != want {
			t.Fatalf("%q allows %q %q: %v, the model says %v", text, method, path, got, want)
		}
		p, err := Parse(text)
		if err != nil {
			return
		}
		if p.String() != text || !p.MatchMethod(p.Method()) || !ValidMethod(p.Method()) && p.Method() != "" {
			t.Fatalf("%q became %q with the method %q", text, p.String(), p.Method())
		}
		if own := example(&p); !p.MatchPath(own) {
			t.Fatalf("%q does not match %q", text, own)
		}
		if rest := StripPrefix(path, text); rest == "" && path != "" {
			t.Fatalf("nothing is left of %q without %q", path, text)
		}
	})
}

// example is a path that p spells out.
func example(p *Pattern) string {
	var b strings.Builder
	for _, seg := range p.segs {
		if seg == wildcard {
			seg = "x"
		}
		b.WriteString("/" + url.PathEscape(seg))
	}
	if p.end == endRest || p.end == endSlash || b.Len() == 0 {
		b.WriteByte('/')
	}
	return b.String()
}
