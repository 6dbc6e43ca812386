package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// There is a page for every command, with its flags and examples, and everybody can read it.
func TestManual(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if got := perfgate(t, "", nil, "man", dir); got.code != 0 || got.out+got.err != "" {
		t.Fatalf("%+v", got)
	}
	for _, path := range leaves(New(Config{})) {
		cmd, _, err := New(Config{}).Find(strings.Fields(path))
		if err != nil || cmd.Hidden {
			continue
		}
		file := filepath.Join(dir, "perfgate-"+strings.ReplaceAll(path, " ", "-")+".1")
		page, err := os.ReadFile(file)
		info, _ := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o644 || !strings.Contains(string(page), ".SH SYNOPSIS") {
			t.Errorf("%s: %v, %v", path, err, info)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "perfgate-keys-rotate.1"))
	if err != nil || !strings.Contains(string(page), "overlap") || !strings.Contains(string(page), "until_unused --out production.key") {
		t.Errorf("%v: %s", err, page)
	}
	testFailures(t, start(t, nil), []failure{{args: "man", code: 2, err: "accepts 1 arg"}, {args: "man /dev/null/x", code: 1, err: "write the manual"}})
}
