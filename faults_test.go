package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every fault passes through admit.WriteFault, which masks keys in it.
func TestFaultsAreMasked(t *testing.T) {
	found := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(raw), "fault.Write(") {
			return err
		}
		if found++; path != filepath.Join("httpapi", "admit", "writefault.go") {
			t.Errorf("%s calls fault.Write; call admit.WriteFault, which masks API keys", path)
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d files call fault.Write: %v", found, err)
	}
}
