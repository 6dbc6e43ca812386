package pattern

import (
	"net/url"
	"os"
	"strings"
	"testing"
)

// Every path of the shared list is refused, or cannot be parsed at all.
func TestCheckPath(t *testing.T) {
	list, err := os.ReadFile("testdata/ambiguous-paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.Lines(string(list)) {
		path = strings.TrimSuffix(path, "\n")
		u, err := url.ParseRequestURI(path)
		if err != nil || strings.Contains(path, "#") {
			continue
		}
		if _, why := CheckPath(u.Path, u.RawPath); why == "" {
			t.Errorf("%s is accepted", path)
		}
	}
	for path, slash := range map[string]bool{"/": false, "/a/...": false, "/100%25": false, "/a%20b": false, "/a%2Fb": true, "/a%252fb": true} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, why := CheckPath(u.Path, u.RawPath); got != slash || why != "" {
			t.Errorf("%s: encoded slash %v, refused because it %s", path, got, why)
		}
	}
}
