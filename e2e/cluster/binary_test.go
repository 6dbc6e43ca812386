package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// work holds the binary and whatever else outlives one test.
var work string

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "perfgate-cluster-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(work)
	os.Exit(code)
}

// build makes the perfgate under test, once for the test process.
var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PERFGATE_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(work, "perfgate")
	cmd := exec.Command("go", "build", "-o", path, "github.com/perfgate/perfgate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build perfgate: %w\n%s", err, out)
	}
	return path, nil
})

func binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs a program to its end; the error holds what it said.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}

// needs skips a test on a machine without a program or without root; CI has both.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for namespaces, mounts or ptrace")
	}
	var missing error
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = errors.Join(missing, err)
		}
	}
	if missing != nil {
		t.Fatal(missing) // .ci/run installs them: their absence must not look like a pass
	}
}
