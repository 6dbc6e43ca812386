package pattern

import "testing"

// Two patterns overlap if one path is of both: compared with all short paths over a
// small alphabet.
func TestOverlaps(t *testing.T) {
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
	var patterns []Pattern
	for _, text := range []string{
		"/", "/{$}", "/{x...}", "GET /", "/a", "/a/", "GET /a", "/a{$}", "/a/{$}", "/a/{x...}", "/a/b", "GET /a/b", "/a/b/", "/a/b/{$}",
		"/b", "GET /b", "/b/{x}", "/{x}", "/{x}/", "/{x}/{$}", "/{x}/b", "GET /{x}/{y}", "/{x}/c/{y...}", "/a/{x}/c", "/a/b/c", "/c/{x}/", "nonsense", "",
	} {
		patterns = append(patterns, Compile(text))
	}
	overlaps := 0
	for i := range patterns {
		for j := range patterns {
			a, b := &patterns[i], &patterns[j]
			common := ""
			for _, path := range paths {
				if a.MatchPath(path) && b.MatchPath(path) {
					common = path
					break
				}
			}
			if got := Overlaps(a, b); got != (common != "") {
				t.Errorf("%q and %q overlap: %v, and share the path %q", a, b, got, common)
			}
			if common != "" {
				overlaps++
			}
		}
	}
	if n := len(patterns) * len(patterns); overlaps < n/4 || overlaps > n*3/4 {
		t.Errorf("%d of %d pairs overlap: one answer would nearly always be right", overlaps, n)
	}
}
