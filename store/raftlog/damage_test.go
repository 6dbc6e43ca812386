package raftlog

import (
	"errors"
	"io"
	"log/slog"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/disk"
)

// A bit that differs in an entry before the last one is no end of the log: the
// entries after it were acknowledged.
func TestDamagedLog(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs)
	for i := range 20 {
		if err := l.StoreLog(entry(uint64(i + 1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("raftlog")
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for _, name := range names {
		info, err := fs.Stat(path.Join("raftlog", name))
		if err != nil || path.Ext(name) != ".log" || info.Size() < 500 {
			continue
		}
		f, err := fs.OpenReadWrite(path.Join("raftlog", name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		b, at := make([]byte, 1), info.Size()/2
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 4
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		flipped++
	}
	if flipped != 1 {
		t.Fatalf("%d logs of %q are large enough", flipped, names)
	}
	_, err = Open(Config{FS: fs, Dir: "raftlog", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if !errors.Is(err, disk.ErrDamaged) || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("Open = %v", err)
	}
}
