package encfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// testKeys are data keys; the last one is current.
type testKeys []KeyID

func (k testKeys) Current() (KeyID, []byte) { id := k[len(k)-1]; return id, secret(id) }

func (k testKeys) Key(id KeyID) ([]byte, bool) { return secret(id), slices.Contains(k, id) }

func secret(id KeyID) []byte { return bytes.Repeat(id[:], 2) }

var oneKey = testKeys{{1}}

// names has a file of each layout.
var names = map[layout]string{blocks: "000007.sst", logs: "000007.log", whole: "OPTIONS-000007"}

func newMem() (*vfs.MemFS, *FS) {
	mem := vfs.NewMem()
	return mem, New(mem, oneKey)
}

func put(t testing.TB, fsys *FS, name string, parts ...[]byte) {
	t.Helper()
	f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if n, err := f.Write(p); err != nil || n != len(p) {
			t.Fatal(n, err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func get(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	return raw, errors.Join(err, f.Close())
}

func raw(t testing.TB, mem vfs.FS, name string) []byte {
	t.Helper()
	b, err := get(mem, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// place writes bytes below the encryption.
func place(t testing.TB, mem vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := mem.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	// In builds with the race detector Pebble's file system in memory overwrites what it
	// was given.
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	return b
}

// A file has the content that was written, at every offset, in each layout; its size is
// that of the content; and nothing of it can be read below. The model is a slice.
func TestFileLikeASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem, fsys := newMem()
		name := rapid.SampledFrom([]string{names[blocks], "000001.blob", names[logs], "MANIFEST-000001", names[whole], "meta"}).Draw(t, "name")
		f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		var model []byte
		size := rapid.OneOf(rapid.IntRange(0, 50), rapid.SampledFrom([]int{blockSize - 1, blockSize, blockSize + 1, 2 * blockSize, maxFrame, maxFrame + 1, 5*maxFrame + 7}), rapid.IntRange(0, 300_000))
		for i := range rapid.IntRange(0, 6).Draw(t, "writes") {
			p := noise(size.Draw(t, "size"), uint64(i))
			if n, err := f.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
			model = append(model, p...)
			if rapid.Bool().Draw(t, "sync") {
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			if info, err := f.Stat(); err != nil || info.Size() != int64(len(model)) {
				t.Fatalf("while it is written the size is %v, %v, want %d", info, err, len(model))
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		info, err := fsys.Stat(name)
		if err != nil || info.Size() != int64(len(model)) {
			t.Fatalf("Stat says %v, %v, want %d", info, err, len(model))
		}
		g, err := fsys.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if info, err := g.Stat(); err != nil || info.Size() != int64(len(model)) {
			t.Fatalf("Stat of the file says %v, %v, want %d", info, err, len(model))
		}
		for range 5 {
			off := rapid.IntRange(0, len(model)+10).Draw(t, "off")
			p := make([]byte, rapid.IntRange(1, 200_000).Draw(t, "len"))
			n, err := g.ReadAt(p, int64(off))
			want := model[min(off, len(model)):min(off+len(p), len(model))]
			if !bytes.Equal(p[:n], want) || (err == io.EOF) != (n < len(p)) || err != nil && err != io.EOF {
				t.Fatalf("ReadAt %d, %d: %d bytes, %v, want %d", len(p), off, n, err, len(want))
			}
		}
		if got, err := io.ReadAll(g); err != nil || !bytes.Equal(got, model) {
			t.Fatalf("reading gives %d bytes, %v, want %d", len(got), err, len(model))
		}
		below, err := get(mem, name)
		if err != nil || len(model) >= 16 && bytes.Contains(below, model[:16]) {
			t.Fatalf("the content is readable below, %v", err)
		}
	})
}

// Two files of the same content have nothing in common, so no nonce is used under the
// same key.
func TestEachFileHasItsKey(t *testing.T) {
	mem, fsys := newMem()
	for l, name := range names {
		put(t, fsys, name, noise(5000, 1))
		put(t, fsys, name+"2", noise(5000, 1))
		a, b := raw(t, mem, name), raw(t, mem, name+"2")
		for i := headerSize + frameHead; i+16 < min(len(a), len(b)); i += 16 {
			if bytes.Equal(a[i:i+16], b[i:i+16]) {
				t.Fatalf("layout %d: equal at %d", l, i)
			}
		}
	}
}

func TestUnsupported(t *testing.T) {
	_, fsys := newMem()
	put(t, fsys, "a.log", []byte("a"))
	if _, err := fsys.OpenReadWrite("a.log", vfs.WriteCategoryUnspecified); !errors.Is(err, vfs.ErrUnsupported) {
		t.Errorf("OpenReadWrite: %v", err)
	}
	f, err := fsys.OpenReadWrite("b.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("WriteAt has no error")
	}
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("reading the handle that writes has no error")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g, err := fsys.ReuseForWrite("a.log", "c.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := get(fsys, "c.log"); err != nil || len(got) != 0 {
		t.Errorf("a reused log holds %d bytes, %v", len(got), err)
	}
	if _, err := fsys.Stat("a.log"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the reused log is still there: %v", err)
	}
}

// On the operating system's files: links, renames, prefetches and preallocation.
func TestOnDisk(t *testing.T) {
	fsys := New(vfs.Default, oneKey)
	dir := t.TempDir()
	for l, base := range names {
		name := filepath.Join(dir, base)
		f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: 512 << 10, PreallocateSize: 1 << 20})
		want := noise(3<<20+5, 1)
		for p := want; len(p) > 0; {
			n := min(len(p), 10_000)
			if _, err := f.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		if err := errors.Join(f.Sync(), f.Close(), fsys.Link(name, name+".link"), fsys.Rename(name, name+".new")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{name + ".link", name + ".new"} {
			g, err := fsys.Open(name, vfs.SequentialReadsOption)
			if err != nil {
				t.Fatal(err)
			}
			_ = g.Prefetch(0, 1<<20) // Pebble's own gives the error "errno 0" where it succeeds
			got, err := io.ReadAll(g)
			if err := errors.Join(err, g.Close()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("layout %d: %d bytes, %v", l, len(got), err)
			}
		}
		if info, err := os.Stat(name + ".new"); err != nil || info.Size() < int64(len(want)) {
			t.Errorf("%v, %v", info, err)
		}
	}
}

// After a write failed, nothing is sealed any more, and Close says so.
func TestFailedWrite(t *testing.T) {
	for l, name := range names {
		mem := vfs.NewMem()
		broken := errors.New("broken")
		failing := false
		fsys := New(&failingFS{mem, func() error {
			if failing {
				return broken
			}
			return nil
		}}, oneKey)
		f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		failing = true
		_, err = f.Write(noise(2*batchSize, 1))
		failing = false
		if !errors.Is(err, broken) {
			t.Fatalf("layout %d: Write: %v", l, err)
		}
		if _, err := f.Write([]byte("more")); !errors.Is(err, broken) {
			t.Errorf("layout %d: the next Write: %v", l, err)
		}
		if err := f.Sync(); !errors.Is(err, broken) {
			t.Errorf("layout %d: Sync: %v", l, err)
		}
		if err := f.Close(); !errors.Is(err, broken) {
			t.Errorf("layout %d: Close: %v", l, err)
		}
	}
}

// failingFS fails writes to files while fail says so.
type failingFS struct {
	vfs.FS
	fail func() error
}

func (f *failingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return &failingFile{file, f.fail}, err
}

type failingFile struct {
	vfs.File
	fail func() error
}

func (f *failingFile) Write(p []byte) (int, error) {
	if err := f.fail(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func TestNames(t *testing.T) {
	for base, want := range map[string]layout{
		"000001.sst": blocks, "000001.blob": blocks, "000001.log": logs, "000001-001.log": logs, "MANIFEST-000001": logs,
		"OPTIONS-000003": whole, "temporary.000003.dbtmp": whole, "marker.manifest.000001.MANIFEST-000001": whole, "stream": whole, "node.pem": whole,
	} {
		if got := layoutOf(base); got != want {
			t.Errorf("%s: %v, want %v", base, got, want)
		}
	}
	if id := fmt.Sprint(KeyID{0xab}); id != "ab000000000000000000000000000000" {
		t.Error(id)
	}
}
