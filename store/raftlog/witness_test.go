package raftlog

import (
	"errors"
	"io"
	"log/slog"
	"path"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/disk"
)

func reopen(fs vfs.FS) (*Log, error) {
	return Open(Config{
		FS: fs, Dir: "raftlog", Plain: fs, Witness: "raftlog.end", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

// A log that reached further once is refused: entries that it acknowledged are missing,
// or a vote that it gave.
func TestLostEnd(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, fs *vfs.MemFS){
		"the whole log": func(t *testing.T, fs *vfs.MemFS) {
			if err := fs.RemoveAll("raftlog"); err != nil {
				t.Fatal(err)
			}
		},
		"an older one was put back": func(t *testing.T, fs *vfs.MemFS) {
			if err := errors.Join(fs.RemoveAll("raftlog"), fs.Rename("older", "raftlog")); err != nil {
				t.Fatal(err)
			}
		},
		"a file was cut": func(t *testing.T, fs *vfs.MemFS) { cutNewest(t, fs, 40) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			l := open(t, fs)
			for i := range uint64(20) {
				if err := l.StoreLog(entry(i + 1)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if ok, err := vfs.Clone(fs, fs, "raftlog", "older"); err != nil || !ok {
				t.Fatal(ok, err)
			}
			l = open(t, fs)
			if err := errors.Join(l.SetUint64([]byte("CurrentTerm"), 9)); err != nil { // no entry: a term counts too
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			lose(t, fs)
			if _, err := reopen(fs); !errors.Is(err, disk.ErrDamaged) {
				t.Errorf("Open = %v", err)
			}
		})
	}
}

// cutNewest cuts n bytes off the newest write-ahead log that has any.
func cutNewest(t *testing.T, fs vfs.FS, n int64) {
	t.Helper()
	names, err := fs.List("raftlog")
	if err != nil {
		t.Fatal(err)
	}
	newest, size := "", int64(0)
	for _, name := range names {
		if info, err := fs.Stat(path.Join("raftlog", name)); err == nil && path.Ext(name) == ".log" && info.Size() > n && name > newest {
			newest, size = name, info.Size()
		}
	}
	src, err := fs.Open(path.Join("raftlog", newest))
	if err != nil {
		t.Fatalf("no log in %q: %v", names, err)
	}
	raw := make([]byte, size-n)
	if _, err := src.ReadAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	dst, err := fs.Create(path.Join("raftlog", newest), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dst.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(src.Close(), dst.Close()); err != nil {
		t.Fatal(err)
	}
}

// Entries that were removed by the log itself are not lost, at either end, nor after
// everything was removed.
func TestRemovedEnd(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs)
	for i := range uint64(20) {
		if err := l.StoreLog(entry(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.DeleteRange(15, 20), l.DeleteRange(1, 3), l.Close()); err != nil {
		t.Fatal(err)
	}
	l = open(t, fs)
	bounds(t, l, 4, 14)
	if err := errors.Join(l.Reset(), l.Close()); err != nil {
		t.Fatal(err)
	}
	l = open(t, fs)
	bounds(t, l, 0, 0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A witness that is missing or damaged is made again: it proves nothing.
func TestWitnessOfItself(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs)
	if err := errors.Join(l.StoreLog(entry(1)), l.Close()); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "x", "PGW1 and so on, for as long as it is 40 b", string(make([]byte, witnessSize))} {
		f, err := fs.Create("raftlog.end", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		l, err := reopen(fs)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatalf("with the witness %q: %v", content, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if w, ok, err := ReadWitness(fs, "raftlog.end"); !ok || err != nil || w.Commits == 0 {
			t.Errorf("it is %+v, %v, %v then", w, ok, err)
		}
	}
}
