package disk

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// An operation that takes longer than the disk is allowed is reported once, while it
// waits; one that ends in time is not, and one that writes more may take longer.
func TestHangs(t *testing.T) {
	const limit = 2 * time.Second
	const megabytes = 8 << 20 // take two seconds at the slowest
	for _, tt := range []struct {
		name  string
		bytes int
		took  time.Duration
		hangs bool
	}{
		{"at once", 0, 0, false},
		{"in time", 0, limit - time.Millisecond, false},
		{"too late", 0, limit + time.Millisecond, true},
		{"much too late", 0, time.Minute, true},
		{"a slow disk", megabytes, 2*limit - time.Millisecond, false},
		{"a disk that hangs with much to write", megabytes, 2*limit + time.Millisecond, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			slow := &slowDisk{FS: vfs.NewMem()}
			var said []string
			var h *Hangs
			h = NewHangs(slow, limit, func(op, name string, d time.Duration) bool {
				said = append(said, op+" "+name)
				if !h.Stuck() {
					t.Errorf("%s: reported after %v as one that is over", tt.name, d)
				}
				return false
			})
			f, err := h.Create("f", vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(make([]byte, tt.bytes)); err != nil {
				t.Fatal(err)
			}
			slow.set(tt.took)
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := len(said) == 1; got != tt.hangs || len(said) > 1 || h.Stuck() {
				t.Errorf("%s: reported %q, stuck is %v", tt.name, said, h.Stuck())
			}
			// What was written is durable: it lends no more time to the next fsync.
			slow.set(limit + time.Millisecond)
			if err := f.Sync(); err != nil || said[len(said)-1] != "fsync f" {
				t.Errorf("%s: the next fsync: %v, %q", tt.name, err, said)
			}
		})
	}
}

// An operation that is given more time is reported again, and counts as stuck once.
func TestHangsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowDisk{FS: vfs.NewMem()}
		var waits []time.Duration
		h := NewHangs(slow, time.Second, func(_, _ string, waited time.Duration) bool {
			waits = append(waits, waited)
			return waited < 3*time.Second
		})
		f, err := h.Create("f", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		slow.set(time.Minute)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}; !slices.Equal(waits, want) || h.Stuck() {
			t.Errorf("reported after %v, want %v; stuck is %v", waits, want, h.Stuck())
		}
	})
}

// Everything that writes or makes durable is watched, in files and in directories.
func TestHangsOfEachOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowDisk{FS: vfs.NewMem()}
		var got []string
		h := NewHangs(errorfs.Wrap(slow, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData && op.Kind != errorfs.OpFileSyncTo {
				slow.wait() // the others wait in slowDisk
			}
			return nil
		})), time.Second, func(op, name string, _ time.Duration) bool { got = append(got, op+" "+name); return false })
		must := func(f vfs.File, err error) vfs.File {
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		if err := h.MkdirAll("d", 0o700); err != nil {
			t.Fatal(err)
		}
		slow.set(2 * time.Second)
		f := must(h.Create("d/a", vfs.WriteCategoryUnspecified))
		rw := must(h.OpenReadWrite("d/a", vfs.WriteCategoryUnspecified))
		dir := must(h.OpenDir("d"))
		got = slices.DeleteFunc(got, func(s string) bool { return s == "open d" })
		steps := []func() error{
			func() error { _, err := f.Write([]byte("x")); return err },
			func() error { _, err := rw.WriteAt([]byte("x"), 0); return err },
			f.Sync,
			f.SyncData,
			func() error { _, err := f.SyncTo(1); return err },
			dir.Sync,
			func() error { return h.Link("d/a", "d/b") },
			func() error { return h.Rename("d/b", "d/c") },
			func() error { _, err := h.ReuseForWrite("d/c", "d/e", vfs.WriteCategoryUnspecified); return err },
			func() error { return h.Remove("d/e") },
		}
		for i, step := range steps {
			if err := step(); err != nil {
				t.Fatal(i, err)
			}
		}
		want := []string{
			"create d/a", "open d/a", "write d/a", "write d/a", "fsync d/a", "fsync d/a", "fsync d/a", "fsync d",
			"link d/b", "rename d/c", "reuse d/e", "remove d/e",
		}
		if !slices.Equal(got, want) {
			t.Errorf("reported %q, want %q", got, want)
		}
	})
}

// slowDisk is a disk of which each operation takes a time.
type slowDisk struct {
	vfs.FS
	mu   sync.Mutex
	took time.Duration // of an operation
}

func (s *slowDisk) set(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = d
}

// wait lets the time of an operation pass, which is none outside of a bubble.
func (s *slowDisk) wait() {
	s.mu.Lock()
	d := s.took
	s.mu.Unlock()
	time.Sleep(d)
}

func (s *slowDisk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, fmt.Errorf("slow disk: %w", err)
	}
	return slowFile{f, s}, nil
}

func (s *slowDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.Create(name, c))
}

func (s *slowDisk) OpenDir(name string) (vfs.File, error) { return s.file(s.FS.OpenDir(name)) }

type slowFile struct {
	vfs.File
	disk *slowDisk
}

func (f slowFile) Sync() error     { f.disk.wait(); return f.File.Sync() }
func (f slowFile) SyncData() error { f.disk.wait(); return f.File.SyncData() }
func (f slowFile) SyncTo(n int64) (bool, error) {
	f.disk.wait()
	return f.File.SyncTo(n)
}
