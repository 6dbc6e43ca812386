package encfs

import (
	"bytes"
	"errors"
	"github.com/cockroachdb/pebble/v2"
	"slices"
	"testing"
)

// Every flipped bit of a small file is an error that Pebble takes for damage and that names the
// file, or changes nothing: in the end of a log, which a crash may damage too.
func TestEveryFlippedBit(t *testing.T) {
	contents := map[string][][]byte{
		"empty": nil, "short": {[]byte("hello")}, "several": {noise(300, 1), noise(100, 2), noise(700, 3)}, "two blocks": {noise(blockSize+50, 4)},
	}
	for l, name := range names {
		for kind, parts := range contents {
			mem, fsys := newMem()
			put(t, fsys, name, parts...)
			want, good := bytes.Join(parts, nil), raw(t, mem, name)
			last := len(good) // where the first frame begins that nothing proves to be durable
			if l == logs {
				last -= endFrame
				if len(parts) > 0 {
					last -= markFrame
				}
			}
			for bit := range 8 * len(good) {
				bad := bytes.Clone(good)
				bad[bit/8] ^= 1 << (bit % 8)
				place(t, mem, name, bad)
				got, err := get(fsys, name)
				var damage *DamageError
				switch {
				case err == nil && bit/8 >= last && bytes.Equal(got, want):
				case err == nil:
					t.Fatalf("layout %d, %s: bit %d of %d is not detected", l, kind, bit, 8*len(good))
				case !pebble.IsCorruptionError(err) || !errors.As(err, &damage) || damage.Path != name:
					t.Fatalf("layout %d, %s: bit %d is the error %v", l, kind, bit, err)
				}
			}
		}
	}
}

// A file that was cut is damaged. A log may be cut by a crash: it gives a beginning of
// its content then, made of whole writes.
func TestEveryCut(t *testing.T) {
	parts := [][]byte{noise(300, 1), noise(blockSize, 2), noise(700, 3)}
	want := bytes.Join(parts, nil)
	for l, name := range names {
		mem, fsys := newMem()
		put(t, fsys, name, parts...)
		good := raw(t, mem, name)
		for n := range good {
			place(t, mem, name, good[:n])
			got, err := get(fsys, name)
			if l == logs {
				whole := slices.Contains([]int{0, 300, 300 + blockSize, len(want)}, len(got))
				if n > 0 && n < headerSize && err == nil && len(got) == 0 {
					continue
				}
				if err != nil || !whole || !bytes.HasPrefix(want, got) {
					t.Fatalf("log cut at %d: %d bytes, %v", n, len(got), err)
				}
				continue
			}
			if !pebble.IsCorruptionError(err) {
				t.Fatalf("layout %d cut at %d of %d: %d bytes, %v", l, n, len(good), len(got), err)
			}
		}
		place(t, mem, name, append(bytes.Clone(good), 0))
		if got, err := get(fsys, name); !pebble.IsCorruptionError(err) {
			t.Errorf("layout %d: a byte after the end: %d bytes, %v", l, len(got), err)
		}
	}
}

// Pieces that were exchanged, repeated or left out are damage, although each is whole.
func TestPiecesInAnotherOrder(t *testing.T) {
	size := map[layout]int{blocks: sealedSize, whole: frameHead + blockSize + tagSize, logs: frameHead + blockSize + tagSize}
	for l, name := range names {
		mem, fsys := newMem()
		put(t, fsys, name, noise(blockSize, 1), noise(blockSize, 2), noise(blockSize, 3))
		good := raw(t, mem, name)
		piece := func(i int) []byte { return good[headerSize+i*size[l] : headerSize+(i+1)*size[l]] }
		end := good[headerSize+3*size[l]:]
		for what, order := range map[string][]int{"exchanged": {1, 0, 2}, "repeated": {0, 0, 1, 2}, "left out": {0, 2}, "first left out": {1, 2}} {
			bad := bytes.Clone(good[:headerSize])
			for _, i := range order {
				bad = append(bad, piece(i)...)
			}
			place(t, mem, name, append(bad, end...))
			if _, err := get(fsys, name); !pebble.IsCorruptionError(err) {
				t.Errorf("layout %d, %s: %v", l, what, err)
			}
		}
	}
}

// The header alone survives a crash right after the creation of a log, and a crash
// during it leaves an empty log.
func TestLogWithoutHeader(t *testing.T) {
	mem, fsys := newMem()
	for _, n := range []int{0, 1, headerSize - 1} {
		place(t, mem, "000001.log", make([]byte, n))
		if got, err := get(fsys, "000001.log"); err != nil || len(got) != 0 {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
	}
	place(t, mem, "000001.log", make([]byte, headerSize))
	if got, err := get(fsys, "000001.log"); err != nil || len(got) != 0 {
		t.Errorf("zeros: %d, %v", len(got), err)
	}
	place(t, mem, "000001.log", make([]byte, headerSize+1))
	if _, err := get(fsys, "000001.log"); !pebble.IsCorruptionError(err) {
		t.Errorf("frames after a header of zeros: %v", err)
	}
}

// The wrong key, a key that is missing, and a file that is not encrypted are refused.
func TestRefusedFiles(t *testing.T) {
	mem, fsys := newMem()
	for _, name := range names {
		put(t, fsys, name, []byte("content"))
		if _, err := get(New(mem, testKeys{{2}}), name); !pebble.IsCorruptionError(err) {
			t.Errorf("%s with another key: %v", name, err)
		}
		wrong := New(mem, wrongKey{})
		if _, err := get(wrong, name); !pebble.IsCorruptionError(err) {
			t.Errorf("%s with a wrong key: %v", name, err)
		}
		place(t, mem, name, noise(500, 1))
		if _, err := get(fsys, name); !pebble.IsCorruptionError(err) {
			t.Errorf("%s in plain: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, name := range names {
		mem, fsys := newMem()
		put(f, fsys, name, noise(100, 1), noise(5000, 2))
		b := raw(f, mem, name)
		f.Add(b)
		f.Add(b[:len(b)-endFrame])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		mem, fsys := newMem()
		for _, name := range names {
			place(t, mem, name, b)
			got, damage := get(fsys, name)
			if damage != nil && !pebble.IsCorruptionError(damage) {
				t.Fatalf("%s: %v", name, damage)
			}
			// Stat may look at the frame that ends a log only; reading finds damage before it.
			if info, err := fsys.Stat(name); err == nil && damage == nil && layoutOf(name) == logs && info.Size() != int64(len(got)) {
				t.Fatalf("%s: Stat says %d, reading gives %d", name, info.Size(), len(got))
			}
			if _, _, err := KeyOf(mem, name); err != nil && !pebble.IsCorruptionError(err) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}

type wrongKey struct{}

func (wrongKey) Current() (KeyID, []byte) { return KeyID{1}, make([]byte, keySize) }
func (wrongKey) Key(KeyID) ([]byte, bool) { return make([]byte, keySize), true }
