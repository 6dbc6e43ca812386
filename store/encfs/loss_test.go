package encfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store/losstest"
)

// A log that lost its power: what was synced is there, in order, and nothing else than
// what was written; a torn tail is no damage.
func TestLogAfterPowerLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := losstest.NewMem()
		fsys := New(mem, oneKey)
		f, err := fsys.Create("000001.log", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := mem.OpenDir("")
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.Sync(); err != nil {
			t.Fatal(err)
		}
		var model []byte
		synced := 0
		for i := range rapid.IntRange(0, 20).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "step") == 0 {
				if err := f.SyncData(); err != nil {
					t.Fatal(err)
				}
				synced = len(model)
				continue
			}
			p := noise(rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, 20_000)).Draw(t, "size"), uint64(i))
			model = append(model, p...)
			if _, err := f.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if rapid.Bool().Draw(t, "close") {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		after := New(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.SampledFrom([]int{0, 30, 70, 100}).Draw(t, "kept"), RNG: rng}), oneKey)
		got, err := get(after, "000001.log")
		if err != nil || len(got) < synced || !bytes.HasPrefix(model, got) {
			t.Fatalf("%d bytes of %d, %d synced, %v", len(got), len(model), synced, err)
		}
		if info, err := after.Stat("000001.log"); err != nil || info.Size() != int64(len(got)) {
			t.Fatalf("Stat says %v, %v, want %d", info, err, len(got))
		}
	})
}

// A write-once file that was closed survives; one that was not is damaged, not shorter.
func TestWholeAfterPowerLoss(t *testing.T) {
	for _, l := range []layout{blocks, whole} {
		for _, closed := range []bool{true, false} {
			mem := losstest.NewMem()
			fsys := New(mem, oneKey)
			f, err := fsys.Create(names[l], vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(noise(10_000, 1)); err != nil {
				t.Fatal(err)
			}
			if closed {
				err = f.Close()
			}
			dir, err2 := mem.OpenDir("")
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			if err := dir.Sync(); err != nil {
				t.Fatal(err)
			}
			got, err := get(New(mem.CrashClone(vfs.CrashCloneCfg{}), oneKey), names[l])
			if closed && (err != nil || !bytes.Equal(got, noise(10_000, 1))) || !closed && !pebble.IsCorruptionError(err) {
				t.Errorf("layout %d, closed %v: %d bytes, %v", l, closed, len(got), err)
			}
		}
	}
}

// A reader of a log that is being written sees whole writes, and more of them later.
func TestReadWhileWritten(t *testing.T) {
	_, fsys := newMem()
	f, err := fsys.Create("000001.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	g, err := fsys.Open("000001.log")
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for i := range 20 {
		p := noise(1000, uint64(i))
		if _, err := f.Write(p); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		more, err := io.ReadAll(g)
		if got = more; err != nil || !bytes.Equal(got, p) {
			t.Fatalf("write %d: %d bytes, %v", i, len(got), err)
		}
	}
	if err := errors.Join(f.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
}
