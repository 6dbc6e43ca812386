package encfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perfgate/perfgate/store/losstest"
)

// options make flushes, compactions, values apart and new logs happen all the time.
func options(fsys vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS: fsys, FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 10, L0CompactionThreshold: 2, MaxManifestFileSize: 4 << 10,
		Logger: quiet{}, EventListener: &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
	}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 512, MaxBlobReferenceDepth: 5, TargetGarbageRatio: 0.5}
	}
	return o
}

// inTables is options without values apart: Pebble panics where it opens a damaged file of
// them ("unknown metadata type"), and no database here has any.
func inTables(fsys vfs.FS) *pebble.Options {
	o := options(fsys)
	o.Experimental.ValueSeparationPolicy = nil
	return o
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Errorf(format, args...))
}

// history is the model of a database: the batches that were committed, in order.
type history struct {
	rng    *rand.Rand
	n      int              // batches
	synced int              // of them are durable
	writes map[string][]int // by key: the batches that wrote it, ascending
}

func value(key string, n int) []byte {
	size := 20 + (n*7919+len(key))%1500
	return bytes.Repeat([]byte(fmt.Sprintf("%s@%d;", key, n)), 1+size/8)[:size]
}

// write commits one batch.
func (h *history) write(t *testing.T, db *pebble.DB) {
	h.n++
	b := db.NewBatch()
	defer b.Close()
	for range 1 + h.rng.IntN(8) {
		key := fmt.Sprintf("key%03d", h.rng.IntN(300))
		if err := b.Set([]byte(key), value(key, h.n), nil); err != nil {
			t.Fatal(err)
		}
		if w := h.writes[key]; len(w) == 0 || w[len(w)-1] != h.n {
			h.writes[key] = append(w, h.n)
		}
	}
	if err := b.Set([]byte("newest"), strconv.AppendInt(nil, int64(h.n), 10), nil); err != nil {
		t.Fatal(err)
	}
	o := pebble.NoSync
	if h.rng.IntN(4) == 0 {
		o = pebble.Sync
	}
	if err := b.Commit(o); err != nil {
		t.Fatal(err)
	}
	if o == pebble.Sync {
		h.synced = h.n
	}
}

// check compares a database with the history: it must hold a beginning of it that
// includes all that was durable. It returns the number of batches.
func (h *history) check(t *testing.T, db *pebble.DB) int {
	t.Helper()
	got := 0
	if v, closer, err := db.Get([]byte("newest")); err == nil {
		got, _ = strconv.Atoi(string(v))
		closer.Close()
	} else if !errors.Is(err, pebble.ErrNotFound) {
		t.Fatal(err)
	}
	if got < h.synced || got > h.n {
		t.Fatalf("%d batches of %d are there, %d were durable", got, h.n, h.synced)
	}
	for key, writes := range h.writes {
		want := 0
		for _, n := range writes {
			if n <= got {
				want = n
			}
		}
		v, closer, err := db.Get([]byte(key))
		switch {
		case want == 0 && errors.Is(err, pebble.ErrNotFound):
			continue
		case err != nil:
			t.Fatalf("%s: %v, want batch %d of %d", key, err, want, got)
		case !bytes.Equal(v, value(key, want)):
			t.Fatalf("%s is %.30q, want batch %d of %d", key, v, want, got)
		}
		closer.Close()
	}
	return got
}

// forget drops the batches after the n-th: they are lost.
func (h *history) forget(n int) {
	for key, w := range h.writes {
		for len(w) > 0 && w[len(w)-1] > n {
			w = w[:len(w)-1]
		}
		h.writes[key] = w
	}
	h.n, h.synced = n, n
}

// A database on encrypted files loses its power again and again, with any part of the
// data that was not synced: it opens, has all that was durable, and nothing but a
// beginning of what was written. PERFGATE_TORTURE makes it 500 losses.
func TestPowerLosses(t *testing.T) {
	losses := 60
	if os.Getenv("PERFGATE_TORTURE") != "" {
		losses = 500
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PERFGATE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("PERFGATE_SEED=%d", seed)
	h := &history{rng: rand.New(rand.NewPCG(seed, 0)), writes: map[string][]int{}}
	mem := losstest.NewMem()
	kept, lost := 0, 0
	for loss := range losses {
		fsys := New(mem, oneKey)
		db, err := pebble.Open("db", options(fsys))
		if err != nil {
			t.Fatalf("loss %d: %v", loss, err)
		}
		got := h.check(t, db)
		lost += h.n - got
		h.forget(got)
		for range h.rng.IntN(120) {
			h.write(t, db)
		}
		if h.rng.IntN(5) == 0 {
			checkpoint(t, db, fsys, h)
		}
		mem2 := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: h.rng.IntN(101), RNG: h.rng})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		mem, kept = mem2, kept+1
	}
	t.Logf("%d power losses, %d batches, %d of them not durable and lost", kept, h.n, lost)
}

func checkpoint(t *testing.T, db *pebble.DB, fsys *FS, h *history) {
	t.Helper()
	if err := fsys.RemoveAll("checkpoint"); err != nil {
		t.Fatal(err)
	}
	if err := db.Checkpoint("checkpoint", pebble.WithFlushedWAL()); err != nil {
		t.Fatal(err)
	}
	if err := fsys.Rename("checkpoint", "moved"); err != nil {
		t.Fatal(err)
	}
	o := options(fsys)
	o.ReadOnly = true
	c, err := pebble.Open("moved", o)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.check(t, c); got != h.n {
		t.Fatalf("the checkpoint has %d batches of %d", got, h.n)
	}
	if err := errors.Join(c.Close(), fsys.RemoveAll("moved")); err != nil {
		t.Fatal(err)
	}
}

// Every file of a database on the disk is encrypted, but for the lock, and a new key is
// used for new files alone.
func TestDatabaseOnDisk(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(filepath.Join(dir, "db"), options(New(vfs.Default, oneKey)))
	if err != nil {
		t.Fatal(err)
	}
	h := &history{rng: rand.New(rand.NewPCG(1, 1)), writes: map[string][]int{}}
	for range 500 {
		h.write(t, db)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	fsys := New(vfs.Default, twoKeys)
	if db, err = pebble.Open(filepath.Join(dir, "db"), options(fsys)); err != nil {
		t.Fatal(err)
	}
	if got := h.check(t, db); got != h.n {
		t.Errorf("%d batches of %d", got, h.n)
	}
	kinds, keys := map[string]bool{}, map[KeyID]bool{}
	names, err := vfs.Default.List(filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		path := filepath.Join(dir, "db", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("key00")) || bytes.Contains(b, []byte("pebble")) {
			t.Errorf("%s is readable", name)
		}
		id, ok, err := KeyOf(vfs.Default, path)
		if err != nil || !ok {
			t.Errorf("%s is not encrypted, %v", name, err)
		}
		kinds[strings.TrimLeft(filepath.Ext(name), ".")], keys[id] = true, true
	}
	if !kinds["sst"] || !kinds["log"] || !kinds["blob"] || len(keys) != 2 {
		t.Errorf("kinds %v, keys %v", kinds, keys)
	}
	ingest(t, db, fsys, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// ingest puts a table that was built beside the database in the place of all rows.
func ingest(t *testing.T, db *pebble.DB, fsys *FS, dir string) {
	t.Helper()
	path := filepath.Join(dir, "000001.sst")
	f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	o := options(fsys)
	o.EnsureDefaults()
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), o.MakeWriterOptions(6, db.TableFormat()))
	if err := errors.Join(w.Set([]byte("ingested"), []byte("yes")), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.IngestAndExcise(t.Context(), []string{path}, nil, nil, pebble.KeyRange{Start: []byte{0}, End: []byte{0xff}}); err != nil {
		t.Fatal(err)
	}
	if _, closer, err := db.Get([]byte("ingested")); err != nil {
		t.Fatal(err)
	} else {
		closer.Close()
	}
	if _, _, err := db.Get([]byte("newest")); !errors.Is(err, pebble.ErrNotFound) {
		t.Errorf("the old rows are still there: %v", err)
	}
}

// A write or an fsync that fails below ends in an error of the commit, and what was
// durable before is there afterwards.
func TestFaultsBelow(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSyncData} {
		mem := losstest.NewMem()
		var failing atomic.Bool
		below := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if failing.Load() && op.Kind == kind && strings.HasSuffix(op.Path, ".log") {
				return syscall.EIO
			}
			return nil
		}))
		db, err := pebble.Open("db", options(New(below, oneKey)))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Set([]byte("a"), []byte("1"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		failing.Store(true)
		func() {
			defer func() { _ = recover() }() // Pebble ends the process where its logger lets it
			if err := db.Set([]byte("b"), []byte("2"), pebble.Sync); err == nil {
				t.Errorf("%v: the commit succeeded", kind)
			}
		}()
		failing.Store(false)
		again, err := pebble.Open("db", options(New(mem.CrashClone(vfs.CrashCloneCfg{}), oneKey)))
		if err != nil {
			t.Fatalf("%v: %v", kind, err)
		}
		if _, closer, err := again.Get([]byte("a")); err != nil {
			t.Errorf("%v: %v", kind, err)
		} else {
			closer.Close()
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
