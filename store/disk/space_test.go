package disk

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestSpaceFollowsFreeBytes(t *testing.T) {
	fs := vfs.NewMem()
	usage := func(avail uint64) {
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: avail, TotalBytes: 1 << 30})
	}
	usage(1 << 29)
	s, err := NewSpace(fs, "/", quiet())
	if err != nil {
		t.Fatal(err)
	}
	const size = 1 << 30 / 100
	for _, step := range []struct {
		name    string
		avail   uint64
		lost    bool // the ballast was released before
		full    bool
		ballast bool
	}{
		{"fresh", 1 << 29, false, false, true},
		{"getting tight", size + size/2, false, false, true},
		{"nearly full", size - 1, false, true, true},
		{"a little freed: wait", size + size/2, false, true, true},
		{"room again", 2 * size, false, false, true},
		{"ballast used up", size - 1, true, true, false},
		{"not enough for the ballast", 2*size + size/2, false, true, false},
		{"enough", 3 * size, false, false, true},
	} {
		usage(step.avail)
		if step.lost {
			s.release()
		}
		s.check()
		_, err := fs.Stat("/ballast")
		if s.Full() != step.full || (err == nil) != step.ballast {
			t.Fatalf("%s: full=%v ballast=%v, want %v %v", step.name, s.Full(), err == nil, step.full, step.ballast)
		}
	}
	if i, err := fs.Stat("/ballast"); err != nil || i.Size() < size {
		t.Fatalf("the ballast has %v bytes, %v", i.Size(), err)
	}
}

// TestFullDisk: a write that finds no space is repeated after the ballast is
// gone, an fsync is not.
func TestFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 29, TotalBytes: 1 << 29})
	noSpace := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	var failing atomic.Int32 // an errorfs.OpKind, or -1
	var syncs atomic.Int32
	failing.Store(-1)
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync {
			syncs.Add(1)
		}
		_, err := mem.Stat("/ballast")
		sync := op.Kind == errorfs.OpFileSync
		if int32(op.Kind) == failing.Load() && (sync || err == nil) {
			return noSpace
		}
		return nil
	}))
	s, err := NewSpace(fs, "/", quiet())
	if err != nil {
		t.Fatal(err)
	}
	s.check()
	f, err := s.Create("/wal", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	failing.Store(int32(errorfs.OpFileWrite))
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatalf("the write was not repeated after the ballast was released: %v", err)
	}
	if _, err := mem.Stat("/ballast"); !errors.Is(err, os.ErrNotExist) || !s.Full() {
		t.Fatalf("the ballast is still there (%v) or Full is %v", err, s.Full())
	}
	failing.Store(int32(errorfs.OpFileSync))
	syncs.Store(0)
	if err := f.Sync(); err == nil || syncs.Load() != 1 {
		t.Fatalf("a failed fsync was tried %d times and answered %v, want once and an error", syncs.Load(), err)
	}
}

// A write that finds no space while the ballast is being made gets the space of that
// part, and the disk counts as full from then on.
func TestFullWhileTheBallastIsMade(t *testing.T) {
	mem := vfs.NewMem()
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 29, TotalBytes: 1 << 30})
	writing, full := make(chan struct{}), make(chan struct{})
	chunks := 0
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && op.Path == "/ballast.tmp" {
			if chunks++; chunks == 2 {
				close(writing)
				<-full
			}
		}
		return nil
	}))
	s, err := NewSpace(fs, "/", quiet())
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan struct{})
	go func() { s.check(); close(made) }()
	<-writing
	released := make(chan struct{})
	go func() { s.release(); close(released) }()
	select {
	case <-released:
		for _, name := range []string{"/ballast", "/ballast.tmp"} {
			if _, err := mem.Stat(name); err == nil {
				t.Errorf("the write is repeated while %s takes the space", name)
			}
		}
	case <-time.After(100 * time.Millisecond): // it waits for the ballast's writer
	}
	close(full)
	<-made
	<-released
	for _, name := range []string{"/ballast", "/ballast.tmp"} {
		if _, err := mem.Stat(name); err == nil {
			t.Errorf("%s takes the space that a write needs", name)
		}
	}
	if !s.Full() {
		t.Error("the disk that just ran full takes writes")
	}
	if chunks != 2 {
		t.Errorf("%d chunks were written, of which the last ones took the space of writes", chunks)
	}
}
