package encfs

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/losstest"
)

var twoKeys = testKeys{{1}, {2}}

func TestRewrite(t *testing.T) {
	for l, name := range names {
		mem, fsys := newMem()
		put(t, fsys, name, noise(10_000, 1))
		next := New(mem, twoKeys)
		before, err := next.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Rewrite(name); err != nil {
			t.Fatal(err)
		}
		if id, ok, err := KeyOf(mem, name); err != nil || !ok || id != (KeyID{2}) {
			t.Errorf("layout %d: key %v, %v, %v", l, id, ok, err)
		}
		if got, err := get(New(mem, testKeys{{2}}), name); err != nil || !bytes.Equal(got, noise(10_000, 1)) {
			t.Errorf("layout %d: %d bytes, %v", l, len(got), err)
		}
		p := make([]byte, 100)
		if _, err := before.ReadAt(p, 50); err != nil || !bytes.Equal(p, noise(10_000, 1)[50:150]) {
			t.Errorf("layout %d: a handle from before: %v", l, err)
		}
		again := raw(t, mem, name)
		if err := next.Rewrite(name); err != nil || !bytes.Equal(again, raw(t, mem, name)) {
			t.Errorf("layout %d: a file under the current key was written again, %v", l, err)
		}
		if left, _ := mem.List(""); len(left) != 1 {
			t.Errorf("layout %d: %v is left", l, left)
		}
	}
}

// A file that is being written, was removed, or is another one by now stays as it is.
func TestRewriteLeavesOthersAlone(t *testing.T) {
	for l, name := range names {
		mem, old := newMem()
		f, err := old.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if l == blocks { // its header waits for the first blocks
			if _, err := f.Write(noise(2*batchSize, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := old.Rewrite(name); !errors.Is(err, ErrOpen) {
			t.Errorf("layout %d: an open file: %v", l, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		next := New(mem, twoKeys)
		h, _, err := headerOf(mem, name)
		if err != nil {
			t.Fatal(err)
		}
		put(t, next, "temp", []byte("old"))
		put(t, next, name, []byte("new"))
		if err := next.replace("temp", name, h); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("layout %d: another file was replaced: %v", l, err)
		}
		if got, err := get(next, name); err != nil || string(got) != "new" {
			t.Errorf("layout %d: %q, %v", l, got, err)
		}
		if err := next.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := next.Rewrite(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("layout %d: a removed file: %v", l, err)
		}
		if err := next.replace("temp", name, h); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("layout %d: a removed file came back: %v", l, err)
		}
	}
}

// A power loss at any step leaves the old file or the new one.
func TestRewriteAndPowerLoss(t *testing.T) {
	for l, name := range names {
		losstest.EveryStep(t, func() *losstest.Mem {
			mem := losstest.NewMem()
			put(t, New(mem, oneKey), name, noise(10_000, 1))
			if err := New(mem, oneKey).syncDir(""); err != nil {
				t.Fatal(err)
			}
			return mem
		}, func(fsys vfs.FS) {
			if err := New(fsys, twoKeys).Rewrite(name); err != nil {
				t.Fatal(err)
			}
		}, func(step int, left *losstest.Mem) {
			after := New(left, twoKeys)
			if got, err := get(after, name); err != nil || !bytes.Equal(got, noise(10_000, 1)) {
				t.Fatalf("layout %d, step %d: %d bytes, %v", l, step, len(got), err)
			}
			if err := after.Rewrite(name); err != nil {
				t.Fatalf("layout %d, step %d: again: %v", l, step, err)
			}
		})
	}
}
