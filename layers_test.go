package main_test

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/perfgate/perfgate"

// layers says which of our packages each package may import, itself aside; a
// package that is not listed may import none and fails the test, so that a new
// room is placed on purpose. "." is main.
var layers = map[string][]string{
	".":               {"node", "httpapi/cli", "httpapi/fault"},
	"node":            {"node/lease", "node/mesh", "httpapi", "httpapi/admit", "httpapi/proxy", "httpapi/fault", "httpapi/apikey", "store", "store/local", "store/raftlog", "store/snapshot", "store/backup", "store/disk", "limiter"},
	"node/lease":      {},
	"node/mesh":       {},
	"node/nodetest":   {"node", "node/mesh", "httpapi/client", "httpapi/fault"}, // nobody may import it: it is in no binary
	"httpapi":         {"httpapi/admit", "httpapi/proxy", "httpapi/fault", "httpapi/apikey", "store", "store/local", "store/backup", "limiter"},
	"httpapi/admit":   {"httpapi/fault", "httpapi/apikey", "store", "limiter"},
	"httpapi/proxy":   {"httpapi/admit", "httpapi/fault", "httpapi/apikey", "store", "store/local", "limiter"},
	"httpapi/cli":     {"httpapi/client", "httpapi/fault", "httpapi/apikey"},
	"httpapi/client":  {"httpapi/fault", "httpapi/apikey"},
	"httpapi/fault":   {},
	"httpapi/apikey":  {},
	"httpapi/h1":      {},
	"store":           {"store/raftlog", "store/snapshot", "store/disk", "limiter"},
	"store/local":     {"store", "store/disk"},
	"store/backup":    {"store", "store/snapshot"},
	"store/raftlog":   {"store/disk"},
	"store/snapshot":  {"store/disk"},
	"store/disk":      {},
	"store/encfs":     {},
	"limiter":         {},
	"e2e":             {},
	"e2e/cluster":     {},
	"httpapi/webhook": {"httpapi/fault", "store"},
}

// pure packages decide; they reach for nothing outside themselves.
var pure = map[string][]string{
	"limiter":    {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
	"node/lease": {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
}

// TestLayers parses the imports of every package that is built, tests aside: an
// arrow that points up, or sideways where none is drawn, is a fault of design.
// It reads the tree in-process, so no cache of the go command can hide a change.
func TestLayers(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		dir := path.Dir(filepath.ToSlash(file))
		found[dir] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if src, err := os.ReadFile(file); err != nil {
			return err
		} else if _, ok := pure[dir]; ok && bytes.Contains(src, []byte("time.Now")) {
			t.Errorf("%s: reads the clock; now is an argument in %s", file, dir)
		}
		for _, s := range f.Imports {
			imported, err := strconv.Unquote(s.Path.Value)
			if err != nil {
				return err
			}
			if fault := judge(dir, imported); fault != "" {
				t.Errorf("%s: %s", file, fault)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !found["limiter"] || !found["store"] {
		t.Fatalf("the module's tree was not found; saw %v", found)
	}
}

// judge says what is wrong with an import; "" if nothing is.
func judge(dir, imported string) string {
	for _, banned := range pure[dir] {
		if imported == banned || strings.HasPrefix(imported, banned+"/") {
			return "imports " + imported + "; " + dir + " has no clock, network, disk, log or randomness"
		}
	}
	ours, ok := strings.CutPrefix(imported, module+"/")
	if !ok || ours == dir {
		return ""
	}
	allowed, placed := layers[dir]
	if !placed {
		return "package " + dir + " has no place in the layers of this test"
	}
	if !slices.Contains(allowed, ours) {
		return "imports " + ours + ", which no arrow allows"
	}
	return ""
}

// The arrows that must never be drawn, whatever the table says.
func TestForbiddenArrows(t *testing.T) {
	for _, c := range [][2]string{
		{"store", "httpapi"},
		{"store", "node"},
		{"store", "store/local"},
		{"limiter", "store"},
		{"httpapi/fault", "store"},
		{"httpapi/h1", "httpapi/fault"},
		{"httpapi/client", "store"},
		{"httpapi/cli", "store"},
		{"httpapi/cli", "node"},
		{"httpapi/admit", "httpapi"},
		{"httpapi/proxy", "httpapi"},
		{"httpapi", "node"},
		{"node/lease", "store"},
		{"somewhere/new", "store"},
	} {
		if judge(c[0], module+"/"+c[1]) == "" {
			t.Errorf("%s may import %s", c[0], c[1])
		}
	}
	for _, std := range []string{"net", "net/http", "os", "os/exec", "log/slog", "math/rand", "math/rand/v2", "io"} {
		for dir := range pure {
			if judge(dir, std) == "" {
				t.Errorf("%s may import %s", dir, std)
			}
		}
	}
	if judge("limiter", "math/bits") != "" || judge("store", module+"/limiter") != "" {
		t.Error("a good arrow is refused")
	}
}
