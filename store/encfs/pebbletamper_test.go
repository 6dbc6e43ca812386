package encfs

import (
	"bytes"
	"errors"
	"fmt"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A flipped bit or a cut in any file of a database is found: at opening or when it is
// read, as damage that names the file. No wrong row is ever read.
func TestDamagedDatabase(t *testing.T) {
	mem := vfs.NewMem()
	db, err := pebble.Open("db", inTables(New(mem, oneKey)))
	if err != nil {
		t.Fatal(err)
	}
	h := &history{rng: rand.New(rand.NewPCG(2, 2)), writes: map[string][]int{}}
	for range 400 {
		h.write(t, db)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := mem.List("db")
	if err != nil {
		t.Fatal(err)
	}
	rounds := 150
	if os.Getenv("PERFGATE_TORTURE") != "" {
		rounds = 1000
	}
	found := map[string]int{}
	rng := rand.New(rand.NewPCG(3, 3))
	for range rounds {
		name := files[rng.IntN(len(files))]
		if name == "LOCK" || strings.HasPrefix(name, "marker.") || strings.HasPrefix(name, "OPTIONS") && rng.IntN(10) > 0 {
			continue
		}
		clone := vfs.NewMem()
		if _, err := vfs.Clone(mem, clone, "db", "db"); err != nil {
			t.Fatal(err)
		}
		b := raw(t, mem, "db/"+name)
		end := len(b)
		if layoutOf(name) == logs {
			end -= endFrame + markFrame // a crash may damage these
		}
		if bit := rng.IntN(8 * end); layoutOf(name) != logs && rng.IntN(3) == 0 {
			b = b[:bit/8]
		} else {
			b[bit/8] ^= 1 << (bit % 8)
		}
		place(t, clone, "db/"+name, b)
		err := readAll(clone, h)
		if err == nil && layoutOf(name) != logs && live(t, mem, name) {
			t.Fatalf("damage to %s is not found", name)
		}
		sized := err != nil && strings.Contains(err.Error(), "object size mismatch") // Pebble's own, before it opens the file
		if err != nil && (!pebble.IsCorruptionError(err) && !sized || !strings.Contains(err.Error(), name)) {
			t.Fatalf("damage to %s is the error %v", name, err)
		}
		if err != nil {
			found[strings.TrimLeft(filepath.Ext(name), ".")]++
		}
	}
	t.Logf("found by kind: %v", found)
	if found["sst"] == 0 || found["log"] == 0 || found[""] == 0 {
		t.Errorf("found by kind: %v", found)
	}
}

// live reports whether the database still uses a table; others are removed
// when it opens.
func live(t *testing.T, mem *vfs.MemFS, name string) bool {
	t.Helper()
	clone := vfs.NewMem()
	if _, err := vfs.Clone(mem, clone, "db", "db"); err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open("db", inTables(New(clone, oneKey)))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = clone.Stat("db/" + name)
	return err == nil && !strings.HasPrefix(name, "OPTIONS")
}

var errWrong = errors.New("wrong row")

// readAll opens a database and reads all rows. It returns errWrong for one that was
// never written.
func readAll(fsys vfs.FS, h *history) (err error) {
	o := inTables(New(fsys, oneKey))
	o.ReadOnly = true
	db, err := pebble.Open("db", o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		key := string(it.Key())
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		n++
		if w := h.writes[key]; len(w) > 0 && !bytes.Equal(v, value(key, w[len(w)-1])) {
			return errWrong
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	if n != len(h.writes)+1 {
		return fmt.Errorf("%w: %d rows of %d", errWrong, n, len(h.writes)+1)
	}
	return nil
}
