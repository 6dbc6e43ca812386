package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// purging opens a database of small tables on fs. Pebble alone may write tables again that have many
// removals, unless its own compactions are off.
func purging(t *testing.T, fs vfs.FS, own bool) *Purged {
	t.Helper()
	o := &pebble.Options{FS: fs, Cleaner: Cleaner{}, FormatMajorVersion: pebble.FormatNewest, MemTableSize: 256 << 10, L0CompactionThreshold: 2, DisableAutomaticCompactions: !own}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 4 << 10
	}
	guard := NewGuard(GuardConfig{Name: "db", Fatal: func(err error) { t.Error(err) }})
	guard.Watch(o)
	db, err := pebble.Open("db", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Purged{DB: db, Guard: guard, FS: fs, Dir: "db", From: []byte{0}, To: []byte{0xff}}
}

// mark is a text that compression leaves as it is.
func mark(chance *rand.Rand) string { return fmt.Sprintf("Mk%016x", chance.Uint64()) }

// set writes rows with a value that holds a mark.
func set(t *testing.T, p *Purged, mark string, rows ...string) {
	t.Helper()
	for _, row := range rows {
		if err := p.DB.Set([]byte(row), []byte(mark), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
}

// holds lists the files of the database that hold a text.
func holds(t *testing.T, p *Purged, text string) (found []string) {
	t.Helper()
	names, err := p.FS.List(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := p.FS.Open(p.FS.PathJoin(p.Dir, name))
		if err != nil {
			continue // removed meanwhile
		}
		raw, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(text)) {
			found = append(found, name)
		}
	}
	return found
}

func remove(t *testing.T, p *Purged) {
	t.Helper()
	if err := p.DB.DeleteRange([]byte("b"), []byte("c"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

func purge(t *testing.T, p *Purged, text string) {
	t.Helper()
	if err := Purge(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if found := holds(t, p, text); len(found) > 0 {
		t.Errorf("%s is in %q", text, found)
	}
}

// A reader of the removed rows holds up a purge, and one that began later does not. Rows that a
// compaction has kept meanwhile go, too.
func TestPurgeAndReaders(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(1, 1))
	for name, open := range map[string]func(*pebble.DB) (io.Closer, error){
		"snapshot": func(db *pebble.DB) (io.Closer, error) { return db.NewSnapshot(), nil },
		"iterator": func(db *pebble.DB) (io.Closer, error) { return db.NewIter(nil) },
	} {
		for _, compacted := range []bool{false, true} {
			text := mark(chance)
			t.Run(fmt.Sprintf("%s/compacted=%v", name, compacted), func(t *testing.T) {
				t.Parallel()
				p := purging(t, vfs.NewMem(), false)
				set(t, p, "kept", "a", "b", "c")
				set(t, p, text, "b1", "b2")
				if err := errors.Join(p.DB.Flush(), p.DB.Compact(t.Context(), p.From, p.To, false)); err != nil {
					t.Fatal(err)
				}
				reader, err := open(p.DB)
				if err != nil {
					t.Fatal(err)
				}
				remove(t, p)
				if compacted {
					if err := errors.Join(p.DB.Flush(), p.DB.Compact(t.Context(), p.From, p.To, false)); err != nil {
						t.Fatal(err)
					}
				}
				p.wait = 50 * time.Millisecond
				if err := Purge(t.Context(), p); !errors.Is(err, ErrHeld) {
					t.Errorf("beside a reader: %v", err)
				}
				before := p.DB.Metrics().WAL.BytesIn
				ended := make(chan error, 1)
				p.wait = 0
				go func() { ended <- Purge(t.Context(), p) }()
				for deadline := time.Now().Add(30 * time.Second); p.DB.Metrics().WAL.BytesIn == before; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("waited 30 s until the purge begins")
					}
				}
				set(t, p, "kept", "a") // after the mark of the purge, which is visible then
				later := p.DB.NewSnapshot()
				defer later.Close()
				if err := reader.Close(); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				if found := holds(t, p, text); len(found) > 0 {
					t.Errorf("%s is in %q", text, found)
				}
			})
		}
	}
}

// A purge waits for the removal of files, which Pebble does in the background.
func TestPurgeWaitsForFiles(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{".sst", ".log"} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			removes, free := make(chan struct{}, 100), make(chan struct{})
			p := purging(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, suffix) {
					removes <- struct{}{}
					<-free
				}
				return nil
			})), true)
			text := mark(rand.New(rand.NewPCG(2, 2)))
			set(t, p, text, "b1", "b2")
			if suffix == ".sst" {
				if err := p.DB.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			remove(t, p)
			ended := make(chan error, 1)
			go func() { ended <- Purge(t.Context(), p) }()
			<-removes
			if len(holds(t, p, text)) == 0 {
				t.Error("nothing was left to remove: the test proves nothing")
			}
			select {
			case err := <-ended:
				t.Errorf("it ended before the files were removed: %v", err)
				ended <- err
			case <-time.After(100 * time.Millisecond): // a wait that is too short proves less, and fails no good code
			}
			close(free)
			if err := <-ended; err != nil && !errors.Is(err, ErrHeld) {
				t.Fatal(err)
			}
			purge(t, p, text)
		})
	}
}

// Rows are written, read and removed at random while Pebble compacts; after a purge no file
// holds what was removed before.
func TestPurgeAtRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	p := purging(t, vfs.NewMem(), chance.IntN(2) == 0)
	live, gone := map[string]string{}, []string{}
	readers := []io.Closer{}
	end := func() {
		for _, r := range readers {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		readers = nil
	}
	defer end()
	for range 40 {
		for range chance.IntN(60) {
			row := fmt.Sprintf("%03d", chance.IntN(1000))
			switch old := live[row]; {
			case old != "" && chance.IntN(3) > 0:
				gone = append(gone, old)
				delete(live, row)
				if err := p.DB.DeleteRange([]byte(row), []byte(row+"\x00"), pebble.NoSync); err != nil {
					t.Fatal(err)
				}
			case old == "":
				live[row] = mark(chance)
				set(t, p, live[row]+strings.Repeat("filled", 40), row)
			}
		}
		switch chance.IntN(6) {
		case 0:
			readers = append(readers, p.DB.NewSnapshot())
		case 1:
			it, err := p.DB.NewIter(nil)
			if err != nil {
				t.Fatal(err)
			}
			it.First()
			readers = append(readers, it)
		case 2:
			end()
		case 3:
			if err := p.DB.Flush(); err != nil {
				t.Fatal(err)
			}
		case 4:
			p.wait = time.Nanosecond
			if err := Purge(t.Context(), p); err != nil && !errors.Is(err, ErrHeld) {
				t.Fatal(err)
			}
		}
	}
	end()
	p.wait = 0
	if err := Purge(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, text := range gone {
		if found := holds(t, p, text); len(found) > 0 {
			t.Errorf("%s is in %q", text, found)
		}
	}
	it, err := p.DB.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	rows := []string{}
	for ok := it.First(); ok; ok = it.Next() {
		rows = append(rows, string(it.Key()))
		if text := live[string(it.Key())]; text == "" || !strings.HasPrefix(string(it.Value()), text) {
			t.Errorf("row %s is %s", it.Key(), it.Value())
		}
	}
	if len(rows) != len(live) || !slices.IsSorted(rows) {
		t.Errorf("%d rows of %d", len(rows), len(live))
	}
}
