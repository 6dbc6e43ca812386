package pack

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/perfgate/perfgate/store/losstest"
)

func read(tb testing.TB, fs vfs.FS, name string) string {
	tb.Helper()
	f, err := fs.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// A file on a real disk is readable by its owner alone, for any umask and mode of
// the file before it, and nothing is left beside it.
func TestWriteFileOnDisk(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "secret")
	if err := os.WriteFile(name, []byte("a longer one that was there before"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".tmp", []byte("left by a crash"), 0o644); err != nil {
		t.Fatal(err)
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	if err := WriteFile(vfs.Default, name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode() != fileMode || read(t, vfs.Default, name) != "new" {
		t.Errorf("%v %v %q", info.Mode(), err, read(t, vfs.Default, name))
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	if err := WriteFile(vfs.Default, filepath.Join(dir, "none", "file"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
}

// After a fault of any of its steps the file is the old one or the new one whole,
// and only if WriteFile returned nil does the new one survive a power loss.
func TestWriteFileFaults(t *testing.T) {
	failed := errors.New("the disk failed")
	for n := 0; ; n++ {
		mem := losstest.NewMem()
		if err := errors.Join(mem.MkdirAll("dir", 0o700), SyncDir(mem, ""), WriteFile(mem, "dir/file", []byte("old"))); err != nil {
			t.Fatal(err)
		}
		steps, hit := 0, false
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			if steps++; steps == n+1 {
				hit = true
				return failed
			}
			return nil
		}))
		err := WriteFile(fs, "dir/file", []byte("new one"))
		if hit != errors.Is(err, failed) {
			t.Fatalf("step %d failed, and WriteFile returned %v", n, err)
		}
		if got := read(t, mem, "dir/file"); got != "old" && got != "new one" {
			t.Fatalf("step %d failed: the file is %q", n, got)
		}
		after := mem.CrashClone(vfs.CrashCloneCfg{})
		if got := read(t, after, "dir/file"); got != "old" && got != "new one" || err == nil && got != "new one" {
			t.Fatalf("step %d failed (%v): after a power loss the file is %q", n, err, got)
		}
		if !hit {
			if n < 4 {
				t.Fatalf("there were %d steps", n)
			}
			return
		}
	}
}
