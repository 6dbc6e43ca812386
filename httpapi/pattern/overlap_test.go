package pattern

import (
	"slices"
	"testing"
)

// shortPaths are all short paths over a small alphabet.
func shortPaths() []string {
	paths := []string{"/"}
	for from, level := 0, 0; level < 4; level++ {
		to := len(paths)
		for _, p := range paths[from:to] {
			for _, seg := range []string{"a", "b", "c"} {
				base := p
				if base != "/" {
					base += "/"
				}
				paths = append(paths, base+seg)
			}
		}
		from = to
	}
	for _, p := range paths[1:] {
		paths = append(paths, p+"/")
	}
	return paths
}

// Two patterns have the same Paths if and only if they match the same ones.
func TestPaths(t *testing.T) {
	paths, same := shortPaths(), 0
	texts := []string{
		"/", "//", "/{$}", "/{x...}", "/{y...}", "GET /", "/a", "//a", "/a/", "/a//", "GET /a", "GET /a/", "/a{$}", "/a/{$}", "/a/{x...}", "/a/{y...}", "/a/b",
		"GET /a/b", "/a/b/", "/a/b{$}", "/a/b/{$}", "/b", "POST /b", "/b/{x}", "/{x}", "/{y}", "GET /{z}", "/{x}/", "/{y}/", "/{x}/{$}", "/{x}/{y...}", "/{x}/b", "/{y}/b",
		"GET /{x}/{y}", "/{y}/{x}", "/{x}/c/{y...}",
	}
	for _, a := range texts {
		for _, b := range texts {
			p, errA := Parse(a)
			q, errB := Parse(b)
			if errA != nil || errB != nil {
				t.Fatalf("%q and %q: %v, %v", a, b, errA, errB)
			}
			i := slices.IndexFunc(paths, func(path string) bool { return p.MatchPath(path) != q.MatchPath(path) })
			if got := p.Paths() == q.Paths(); got != (i < 0) {
				t.Errorf("%q and %q have the same paths: %v; the first that differs is number %d", a, b, got, i)
			}
			if i < 0 && a != b {
				same++
			}
		}
	}
	if same < len(texts)/2 {
		t.Errorf("only %d pairs have the same paths", same)
	}
}

// Two patterns overlap if one path is of both, and one covers the other if it has all of its
// paths: compared with all short paths over a small alphabet.
func TestOverlaps(t *testing.T) {
	paths := shortPaths()
	var patterns []Pattern
	for _, text := range []string{
		"/", "/{$}", "/{x...}", "GET /", "/a", "/a/", "GET /a", "/a{$}", "/a/{$}", "/a/{x...}", "/a/b", "GET /a/b", "/a/b/", "/a/b/{$}",
		"/b", "GET /b", "/b/{x}", "/{x}", "/{x}/", "/{x}/{$}", "/{x}/b", "GET /{x}/{y}", "/{x}/c/{y...}", "/a/{x}/c", "/a/b/c", "/c/{x}/", "nonsense", "",
	} {
		patterns = append(patterns, Compile(text))
	}
	overlaps, covers := 0, 0
	for i := range patterns {
		for j := range patterns {
			a, b := &patterns[i], &patterns[j]
			common, alone, any := "", "", false
			for _, path := range paths {
				any = any || b.MatchPath(path)
				switch {
				case !b.MatchPath(path):
				case !a.MatchPath(path):
					alone = path
				case common == "":
					common = path
				}
			}
			if got := Covers(a, b); got != (any && alone == "") {
				t.Errorf("%q covers %q: %v, but of the second alone is %q", a, b, got, alone)
			} else if got {
				covers++
			}
			if got := Overlaps(a, b); got != (common != "") {
				t.Errorf("%q and %q overlap: %v, and share the path %q", a, b, got, common)
			}
			if common != "" {
				overlaps++
			}
		}
	}
	if n := len(patterns) * len(patterns); overlaps < n/4 || overlaps > n*3/4 || covers < n/8 {
		t.Errorf("%d of %d pairs overlap, and %d cover: one answer would nearly always be right", overlaps, n, covers)
	}
}
