package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
)

func mustLoad(t *testing.T, args []string, pairs ...string) *config.Config {
	t.Helper()
	return configtest.MustLoad(t, Load, args, pairs...)
}

func TestCheckConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		out, warned, err := check(t, []string{"--data-dir", dir})
		if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "--data-dir: node.data_dir") || out != "" || warned != "" {
			t.Errorf("%s: %v, prints %q and %q", dir, err, out, warned)
		}
	}
	if out, warned, err := check(t, []string{"--data-dir", filepath.Join(t.TempDir(), "data")}); err != nil || out != "ok\n" || warned != "" {
		t.Errorf("%v, prints %q and %q", err, out, warned)
	}
}

// A node that cannot have its data directory names the setting and exits with 2.
func TestOpenUnusableDataDir(t *testing.T) {
	dir := t.TempDir()
	open := func() (*Node, error) {
		c := mustLoad(t, []string{"--data-dir", dir, "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"})
		n := &Node{config: c}
		return n, n.openDataDir(t.Context())
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	_, err = open()
	if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "another perfgate (process ") || !strings.Contains(err.Error(), "--data-dir: node.data_dir") {
		t.Errorf("the second opens with %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again, err := open()
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	defer again.close()
}
