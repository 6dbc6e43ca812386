package datadir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/datadir"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for max, ok := range map[int64]bool{4: false, 5: true, 6: true} {
		raw, err := datadir.ReadFile(path, max)
		if ok && (err != nil || string(raw) != "12345") || !ok && (err == nil || err.Error() != "it is larger than 4 bytes") {
			t.Errorf("at most %d bytes: %q, %v", max, raw, err)
		}
	}
	if _, err := datadir.ReadFile(path+"x", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// A file is replaced whole: its mode is 0600, nothing else is left beside it, and a
// failure leaves the old one.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, datadir.OperatorTokenFile)
	for _, text := range []string{"one", "two"} {
		if err := datadir.WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != text {
			t.Errorf("the file holds %q, %v; want %q", raw, err, text)
		}
		if m := mode(t, path); m != 0o600 {
			t.Errorf("the file has mode %v", m)
		}
	}
	// It cannot take the place of a directory.
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := datadir.WriteFile(full, []byte("three")); err == nil || !strings.Contains(err.Error(), full) {
		t.Errorf("over a directory: %v", err)
	}
	if err := datadir.WriteFile(filepath.Join(dir, "missing", "x"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a missing directory: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestReason(t *testing.T) {
	_, err := os.Open(filepath.Join(t.TempDir(), "missing"))
	if got := datadir.Reason(err); got.Error() != "no such file or directory" || !errors.Is(got, fs.ErrNotExist) {
		t.Errorf("Reason = %v", got)
	}
	other := errors.New("other")
	if got := datadir.Reason(other); got != other {
		t.Errorf("Reason = %v", got)
	}
}
