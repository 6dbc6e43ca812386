package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/perfgate/perfgate/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// command runs a program to its end; the error holds its output.
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
