package pattern

import (
	"fmt"
	"slices"
	"testing"
)

// A tree that was filled in the order of Compare finds exactly the patterns that match
// a path, in that order: with few literals at a level and with many.
func TestTree(t *testing.T) {
	paths := append(shortPaths(), "", "//a//b", "/%61/b", "/%6/b", "/a%2Fb", "/A", "/z7", "/z7/a/", "a")
	texts := []string{
		"/", "/{$}", "/{x...}", "GET /", "/a", "/a/", "GET /a", "/a{$}", "/a/{$}", "/a/{x...}", "/a/b", "GET /a/b", "/a/b/", "/a/b/{$}",
		"/b", "GET /b", "/b/{x}", "/{x}", "/{x}/", "/{x}/{$}", "/{x}/b", "GET /{x}/{y}", "/{x}/c/{y...}", "/a/{x}/c", "/a/b/c", "/c/{x}/", "nonsense", "",
	}
	for _, more := range []int{0, 3 * few} {
		var patterns []Pattern
		for _, text := range texts {
			patterns = append(patterns, Compile(text))
		}
		for i := range more {
			patterns = append(patterns, Compile(fmt.Sprintf("/z%d", i)))
		}
		slices.SortStableFunc(patterns, func(a, b Pattern) int { return Compare(&a, &b) })
		var tree Tree[int]
		for i := range patterns {
			tree.Add(&patterns[i], i)
		}
		for _, path := range paths {
			var want, got []int
			for i := range patterns {
				if patterns[i].MatchPath(path) {
					want = append(want, i)
				}
			}
			ended := tree.Find(path, func(i int) bool { got = append(got, i); return false })
			if ended || !slices.Equal(got, want) {
				t.Errorf("%d more, %q: %v, %t; want %v", more, path, got, ended, want)
			}
			calls := 0
			if found := tree.Find(path, func(int) bool { calls++; return true }); found != (len(want) > 0) || calls != min(1, len(want)) {
				t.Errorf("%d more, %q: the search went on: %d calls, %t", more, path, calls, found)
			}
		}
	}
}
