package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	c := mustLoad(t, []string{"--data-dir", dir})
	if err := c.Check(); err != nil {
		t.Errorf("Check = %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("Check makes the data directory")
	}
	unlock, err := OpenDataDir(c)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	_, err = OpenDataDir(c)
	if exitCode(err) != 2 || !strings.Contains(err.Error(), "another perfgate (process ") || !strings.Contains(err.Error(), "--data-dir: node.data_dir") {
		t.Errorf("the second opens with %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err = OpenDataDir(c)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	defer unlock()
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("an open directory stays %v", info.Mode())
	}
}

func TestUnusableDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/perfgate"} {
		c := mustLoad(t, []string{"--data-dir", dir})
		if _, err := OpenDataDir(c); exitCode(err) != 2 || !strings.Contains(err.Error(), "node.data_dir") {
			t.Errorf("%s: OpenDataDir = %v", dir, err)
		}
		var out bytes.Buffer
		if err := CheckConfig(&out, c); !strings.HasPrefix(dir, "/proc") && (exitCode(err) != 2 || out.Len() > 0) {
			t.Errorf("%s: CheckConfig = %v, prints %q", dir, err, out.String())
		}
	}
	var out bytes.Buffer
	if err := CheckConfig(&out, mustLoad(t, []string{"--data-dir", t.TempDir()})); err != nil || out.String() != "ok\n" {
		t.Errorf("CheckConfig = %v, prints %q", err, out.String())
	}
}
