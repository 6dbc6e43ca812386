package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// work is the folder of the test process, see Work.
var work string

// Main is TestMain of a package: it runs the tests and removes their common folder.
func Main(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "perfgate-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(work)
	os.Exit(code)
}

// Work is a folder that outlives one test, and is removed after all.
func Work() string { return work }

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PERFGATE_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(work, "perfgate")
	return path, Build(path, ".", "github.com/perfgate/perfgate")
})

// Binary is the perfgate under test: the one of PERFGATE_BINARY, or one that is built
// once for the test process.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Build builds a main package from folder dir to path, with further flags before it.
func Build(path, dir, pkg string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), pkg)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}
