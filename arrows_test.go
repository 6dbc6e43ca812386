package main_test

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/perfgate/perfgate"

// house is the module's tree as found on disk.
type house struct {
	imports map[string]map[string]string // importing package → imported path → a file that imports it; tests aside
	clocks  []string                     // files of pure packages that read the clock
}

// readHouse parses the imports of every package, tests aside. It reads the
// tree in-process, so no cache of the go command can hide a change.
func readHouse() (*house, error) {
	h := &house{imports: map[string]map[string]string{}}
	err := eachGoFile(func(file string, src []byte) error {
		if strings.HasSuffix(file, "_test.go") {
			return nil
		}
		dir := path.Dir(file)
		if h.imports[dir] == nil {
			h.imports[dir] = map[string]string{}
		}
		if _, ok := pure[dir]; ok && bytes.Contains(src, []byte("time.Now")) {
			h.clocks = append(h.clocks, file)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, s := range f.Imports {
			imported, err := strconv.Unquote(s.Path.Value)
			if err != nil {
				return err
			}
			h.imports[dir][imported] = file
		}
		return nil
	})
	return h, err
}

// eachGoFile calls fn with every Go file of the module, see [eachFile].
func eachGoFile(fn func(file string, src []byte) error) error { return eachFile(".go", fn) }

// eachFile calls fn with every file of the module that has an extension, and
// with its path, which has forward slashes and is relative to the module's root.
func eachFile(ext string, fn func(file string, src []byte) error) error {
	return filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if file == "." {
				return nil
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil {
				return filepath.SkipDir // a module of its own
			}
			if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if path.Ext(file) != ext {
			return nil
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return fn(filepath.ToSlash(file), src)
	})
}

// TestLayers holds the drawing and the code against each other.
func TestLayers(t *testing.T) {
	h, err := readHouse()
	if err != nil {
		t.Fatal(err)
	}
	if h.imports["limiter"] == nil || h.imports["store"] == nil {
		t.Fatalf("the module's tree was not found; saw %v", slices.Sorted(maps.Keys(h.imports)))
	}
	for _, file := range h.clocks {
		t.Errorf("%s: reads the clock; pass the time as an argument", file)
	}
	for _, fault := range compare(layers, h.imports) {
		t.Error(fault)
	}
}

// compare returns every difference between a drawing and the imports found.
func compare(drawn map[string][]string, found map[string]map[string]string) (faults []string) {
	for _, dir := range slices.Sorted(maps.Keys(found)) {
		for _, imported := range slices.Sorted(maps.Keys(found[dir])) {
			if fault := judge(drawn, dir, imported); fault != "" {
				faults = append(faults, found[dir][imported]+": "+fault)
			}
		}
		if _, ok := drawn[dir]; !ok {
			faults = append(faults, fmt.Sprintf("package %s is missing in layers: add it with the packages that it imports", dir))
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(drawn)) {
		if _, ok := found[dir]; !ok {
			faults = append(faults, fmt.Sprintf("layers lists %s, which has no code: remove it", dir))
			continue
		}
		if !slices.IsSorted(drawn[dir]) {
			faults = append(faults, fmt.Sprintf("layers of %s are not sorted", dir))
		}
		for _, to := range drawn[dir] {
			if _, ok := found[dir][module+"/"+to]; !ok {
				faults = append(faults, fmt.Sprintf("layers draws %s → %s, which no code uses: remove the arrow", dir, to))
			}
		}
	}
	return faults
}

// judge names the fault of an import; "" if it has none.
func judge(drawn map[string][]string, dir, imported string) string {
	for _, banned := range pure[dir] {
		if imported == "net/netip" {
			break // addresses as values
		}
		if imported == banned || strings.HasPrefix(imported, banned+"/") {
			return "imports " + imported + "; " + dir + " has no clock, network, disk, log or randomness"
		}
	}
	ours, ok := strings.CutPrefix(imported, module+"/")
	if !ok || ours == dir {
		return ""
	}
	if !slices.Contains(drawn[dir], ours) {
		return "imports " + ours + ", which no arrow in layers allows"
	}
	return ""
}

// within reports whether a package matches a pattern of forbidden.
func within(dir, pattern string) bool {
	parent, tree := strings.CutSuffix(pattern, "/...")
	return dir == parent || tree && strings.HasPrefix(dir, parent+"/")
}

// wayTo finds drawn arrows that lead from a package to one that matches a
// pattern; nil if none do.
func wayTo(drawn map[string][]string, from, pattern string) []string {
	seen := map[string]bool{from: true}
	for ways := [][]string{{from}}; len(ways) > 0; ways = ways[1:] {
		for _, to := range drawn[ways[0][len(ways[0])-1]] {
			way := append(slices.Clone(ways[0]), to)
			if within(to, pattern) && (pure[from] != nil || !slices.Contains(leaves, to)) {
				return way
			}
			if !seen[to] {
				seen[to] = true
				ways = append(ways, way)
			}
		}
	}
	return nil
}

// violations lists the forbidden arrows that a drawing contains.
func violations(drawn map[string][]string) (faults []string) {
	for _, f := range forbidden {
		for _, from := range slices.Sorted(maps.Keys(drawn)) {
			if !within(from, f.from) || within(from, f.to) {
				continue
			}
			if way := wayTo(drawn, from, f.to); way != nil {
				faults = append(faults, strings.Join(way, " → ")+": "+f.reason)
			}
		}
	}
	return faults
}

// The arrows that must never be drawn, however the table is edited.
func TestForbiddenArrows(t *testing.T) {
	for _, fault := range violations(layers) {
		t.Error(fault)
	}
	for _, std := range []string{"net", "net/http", "os", "os/exec", "log/slog", "math/rand", "math/rand/v2", "io"} {
		for dir := range pure {
			if judge(layers, dir, std) == "" {
				t.Errorf("%s may import %s", dir, std)
			}
		}
	}
	if judge(layers, "limiter", "math/bits") != "" || judge(layers, "store", module+"/limiter") != "" {
		t.Error("a good arrow is refused")
	}
	if judge(layers, "somewhere/new", module+"/store") == "" {
		t.Error("a package that is not drawn may import store")
	}
	// Each forbidden arrow is found when somebody draws it, directly or over a third package.
	for _, f := range forbidden {
		from, to := strings.TrimSuffix(f.from, "/..."), strings.TrimSuffix(f.to, "/...")
		for _, drawn := range []map[string][]string{
			{from: {to}, to: {}},
			{from: {"third"}, "third": {to}, to: {}},
		} {
			if len(violations(drawn)) == 0 {
				t.Errorf("%s may import %s when it is drawn as %v", from, to, drawn)
			}
		}
	}
}

// TestLayersBothWays shows compare each kind of fault once.
func TestLayersBothWays(t *testing.T) {
	found := map[string]map[string]string{
		"a": {module + "/b": "a/a.go", "fmt": "a/a.go"},
		"b": {},
	}
	for _, c := range []struct {
		name  string
		drawn map[string][]string
		want  []string
	}{
		{"as built", map[string][]string{"a": {"b"}, "b": {}}, nil},
		{"import not drawn", map[string][]string{"a": {}, "b": {}}, []string{"a/a.go: imports b, which no arrow in layers allows"}},
		{"package not drawn", map[string][]string{"a": {"b"}}, []string{"package b is missing in layers: add it with the packages that it imports"}},
		{"arrow unused", map[string][]string{"a": {"b"}, "b": {"a"}}, []string{"layers draws b → a, which no code uses: remove the arrow"}},
		{"room without code", map[string][]string{"a": {"b"}, "b": {}, "c": {}}, []string{"layers lists c, which has no code: remove it"}},
		{"not sorted", map[string][]string{"a": {"b", "a"}, "b": {}}, []string{"layers of a are not sorted", "layers draws a → a, which no code uses: remove the arrow"}},
	} {
		if got := compare(c.drawn, found); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
