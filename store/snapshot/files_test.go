package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// all lists the files under dir.
func all(t *testing.T, fs vfs.FS, dir string) (out []string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p := path.Join(dir, name)
		switch info, err := fs.Stat(p); {
		case err != nil:
			t.Fatal(err)
		case info.IsDir():
			out = append(out, all(t, fs, p)...)
		case info.Size() > 0 && name != lockFile:
			out = append(out, p)
		}
	}
	return out
}

// harm flips one bit of a file, or cuts it, and tells what it did.
func harm(t *testing.T, fs vfs.FS, name string, rng *rand.Rand) string {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	at, what := rng.IntN(len(raw)), ""
	if rng.IntN(3) == 0 {
		raw, what = raw[:at], fmt.Sprintf("%s cut at %d", name, at)
	} else {
		bit := rng.IntN(8)
		raw[at] ^= 1 << bit
		what = fmt.Sprintf("%s: bit %d of byte %d", name, bit, at)
	}
	out, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = out.Write(raw)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return what
}

// A snapshot of which one bit differs, or a file is shorter, is read as it was written or
// not at all, and is not offered again. Its rows are in a log, where Pebble takes damage
// for the end of a crash, and in a table.
func TestHarmedSnapshot(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	found, harmless := map[string]int{}, 0
	for range 120 {
		fs := vfs.NewMem()
		b := begin(t, fs)
		b.cfg.Options = func() *pebble.Options {
			o := options(fs)
			o.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
			return o
		}
		for i := range 40 {
			b.set(fmt.Sprintf("a%04d", i), strings.Repeat("x", i))
			if i == 20 {
				if err := b.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		id := b.take(9, 9)
		_, before := b.read(id)
		files := all(t, fs, "snapshots/"+id)
		name := files[rng.IntN(len(files))]
		what := harm(t, fs, name, rng)
		b.size = map[string]int64{}
		_, src, err := b.Open(id)
		var raw []byte
		if err == nil {
			raw, err = io.ReadAll(src)
			err = errors.Join(err, src.Close())
		}
		if err == nil {
			if harmless++; !bytes.Equal(raw, before) {
				t.Errorf("%s: other rows are read (seed %d)", what, seed)
			}
			continue
		}
		found[path.Ext(name)]++
		if path.Base(name) != metaFile && !Damaged(err) {
			t.Errorf("%s: the error does not say so: %v (seed %d)", what, err, seed)
		}
		if left := b.ids(); len(left) > 0 {
			t.Errorf("%s: %v; it is offered again (seed %d)", what, err, seed)
		}
		if !strings.Contains(b.log.String(), id) {
			t.Errorf("%s: nothing names it: %s", what, b.log.String())
		}
	}
	t.Logf("seed %d: found %v, %d did no harm", seed, maps.Collect(maps.All(found)), harmless)
	if found[".log"] == 0 || found[".sst"] == 0 {
		t.Errorf("only %v were found (seed %d)", found, seed)
	}
}

// A checkpoint that does not reach as far as its snapshot was written down to, and a
// stream without rows, are damaged.
func TestShortSnapshot(t *testing.T) {
	b := begin(t, vfs.NewMem())
	b.cfg.Applied = func(*pebble.DB) (uint64, error) { return 6, nil }
	b.set("a", "1")
	if _, _, err := b.Open(b.take(9, 7)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a checkpoint at 6 for 7: %v", err)
	}
	k := b.create(10)
	w, err := NewWriter(k, 10)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); !errors.Is(err, ErrDamaged) {
		t.Errorf("a stream without rows: %v", err)
	}
}

// Whole is called when a snapshot has been read to its end. It is not called for a part of a
// snapshot, nor for one that is damaged.
func TestWhole(t *testing.T) {
	fs := vfs.NewMem()
	b := begin(t, fs)
	whole, damaged := 0, 0
	b.cfg.Whole, b.cfg.Damaged = func(uint64) { whole++ }, func() { damaged++ }
	for i := range 100 {
		b.set(fmt.Sprint("key ", i), strings.Repeat("v", 1000))
	}
	id := b.take(9, 7)
	read := func(n int64) {
		t.Helper()
		_, src, err := b.Open(id)
		if err == nil {
			_, err = io.CopyN(io.Discard, src, n)
			err = errors.Join(err, src.Close())
		}
		t.Log(err)
	}
	if read(1000); whole != 0 || damaged != 0 {
		t.Errorf("read in part: %d times whole, %d damaged", whole, damaged)
	}
	if read(1 << 30); whole != 1 || damaged != 0 {
		t.Errorf("read to its end: %d times whole, %d damaged", whole, damaged)
	}
	id = b.take(10, 7)
	names, err := fs.List("snapshots/" + id + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if path.Ext(name) == ".sst" || path.Ext(name) == ".log" {
			flip(t, fs, "snapshots/"+id+"/checkpoint/"+name, 40)
		}
	}
	if read(1 << 30); whole != 1 || damaged == 0 {
		t.Errorf("damaged: %d times whole, %d damaged", whole, damaged)
	}
}

// A snapshot that was taken of a state with a table that was cut is damaged.
func TestSnapshotOfACutTable(t *testing.T) {
	fs := vfs.NewMem()
	b := begin(t, fs)
	b.set("a", "1")
	if err := b.db.Flush(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("state")
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for _, name := range names {
		if path.Ext(name) != ".sst" {
			continue
		}
		f, err := fs.Create("state/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write([]byte("half of it"))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		cut++
	}
	id := b.take(9, 7)
	if _, _, err := b.Open(id); cut == 0 || !Damaged(err) {
		t.Errorf("%d tables were cut: %v", cut, err)
	}
	if left := b.ids(); len(left) > 0 {
		t.Errorf("it is offered again: %q", left)
	}
}
