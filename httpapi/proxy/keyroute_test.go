package proxy

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/admit"
)

// A pattern in a key's routes means what it means as a route's path.
func TestKeyRoutesMeanWhatRoutesMean(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "é", "{x}", "{y}", "{z...}", "{$}", ""})
	piece := rapid.SampledFrom([]string{"a", "b", "ab", "%61", "%C3%A9", "a%2Fb", "", "%"})
	method := rapid.SampledFrom([]string{"", "GET", "HEAD", "POST"})
	rapid.Check(t, func(t *rapid.T) {
		text := "/" + strings.Join(rapid.SliceOfN(segment, 0, 4).Draw(t, "segments"), "/")
		if rapid.Bool().Draw(t, "glue") {
			text = strings.Replace(text, "/{$}", "{$}", 1)
		}
		if m := method.Draw(t, "pattern's method"); m != "" {
			text = m + " " + text
		}
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		path := "/" + strings.Join(rapid.SliceOfN(piece, 0, 4).Draw(t, "path"), "/")
		m := rapid.SampledFrom([]string{"GET", "HEAD", "POST"}).Draw(t, "method")
		want := p.match(path) && (p.method == "" || p.method == m || p.method == "GET" && m == "HEAD")
		if got := admit.MatchRoute(text, &admit.Target{Method: m, Path: path}); got != want {
			t.Fatalf("MatchRoute(%q, %s %s) = %v, as a route %v", text, m, path, got, want)
		}
	})
}
