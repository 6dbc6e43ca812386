package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// usageFS reports the disk usage that a test sets, or its error.
type usageFS struct {
	vfs.FS
	mu  sync.Mutex // held while use changes under a Watch
	use vfs.DiskUsage
	err error
}

func (u *usageFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.use, u.err
}

// The ballast is a hundredth of the volume, within bounds.
func TestBallastSize(t *testing.T) {
	for _, tc := range []struct {
		total, want uint64
	}{
		{0, minBallast}, {1 << 20, minBallast}, {minBallast * 100, minBallast},
		{minBallast*100 + 100, minBallast + 1}, {1 << 30, 1 << 30 / 100},
		{maxBallast * 100, maxBallast}, {1 << 50, maxBallast},
	} {
		s, err := NewSpace(&usageFS{FS: vfs.NewMem(), use: vfs.DiskUsage{TotalBytes: tc.total}}, "/", quiet())
		if err != nil || s.size != tc.want {
			t.Errorf("of %d bytes: %d, %v; want %d", tc.total, s.size, err, tc.want)
		}
	}
}

// Where free space is unknown nothing is reserved, and no check says full; an
// error that is not that one is reported.
func TestSpaceUnknown(t *testing.T) {
	fs := &usageFS{FS: vfs.NewMem(), err: vfs.ErrUnsupported}
	s, err := NewSpace(fs, "/", quiet())
	if err != nil {
		t.Fatal(err)
	}
	s.check()
	if _, err := fs.Stat("/ballast"); !errors.Is(err, os.ErrNotExist) || s.Full() {
		t.Errorf("a ballast (%v), or full (%v)", err, s.Full())
	}
	fs.err = syscall.EIO
	if _, err := NewSpace(fs, "/data", quiet()); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), `"/data"`) {
		t.Errorf("NewSpace returned %v", err)
	}
}

// While usage cannot be read, nothing changes; the log says why.
func TestCheckKeepsTheState(t *testing.T) {
	fs := &usageFS{FS: vfs.NewMem(), use: vfs.DiskUsage{TotalBytes: 1 << 30, AvailBytes: 1}}
	var out bytes.Buffer
	s, err := NewSpace(fs, "/", slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s.check()
	if !s.Full() {
		t.Fatal("not full with one byte left")
	}
	fs.use.AvailBytes, fs.err = 1<<29, syscall.EIO
	s.check()
	if !s.Full() || !strings.Contains(out.String(), "input/output error") {
		t.Errorf("full is %v after a failed check; the log is %q", s.Full(), &out)
	}
	fs.err = nil
	s.check()
	if s.Full() {
		t.Error("full with half of the volume free")
	}
}

// A ballast that cannot be written whole is not there, and the volume stays full
// until it is.
func TestBallastThatFails(t *testing.T) {
	mem := vfs.NewMem()
	for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpRename} {
		failing := true
		inner := &usageFS{use: vfs.DiskUsage{TotalBytes: 1 << 30, AvailBytes: 1}, FS: errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if failing && op.Kind == kind {
				return syscall.EIO
			}
			return nil
		}))}
		s, err := NewSpace(inner, "/", quiet())
		if err != nil {
			t.Fatal(err)
		}
		s.check()
		inner.use.AvailBytes = 1 << 29
		s.check()
		if list, err := mem.List("/"); err != nil || len(list) != 0 || !s.Full() {
			t.Errorf("operation %v failed: %v (%v), full is %v", kind, list, err, s.Full())
		}
		failing = false
		s.check()
		if _, err := mem.Stat("/ballast"); err != nil || s.Full() {
			t.Errorf("operation %v works again: %v, full is %v", kind, err, s.Full())
		}
		s.release()
		s.release() // twice is no harm
		if _, err := mem.Stat("/ballast"); !errors.Is(err, os.ErrNotExist) || !s.Full() {
			t.Errorf("after its release: %v, full is %v", err, s.Full())
		}
	}
}

// Watch looks at once, then every second until its context ends.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &usageFS{FS: vfs.NewMem(), use: vfs.DiskUsage{TotalBytes: 1 << 30, AvailBytes: 1}}
		s, err := NewSpace(fs, "/", slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Watch(ctx); close(done) }()
		synctest.Wait()
		if !s.Full() {
			t.Error("the first look is late")
		}
		fs.mu.Lock()
		fs.use.AvailBytes = 1 << 29
		fs.mu.Unlock()
		tick(t)
		if s.Full() {
			t.Error("the second look is late")
		}
		cancel()
		<-done
	})
}

// tick lets the time between two looks pass in a synctest bubble.
func tick(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), checkEvery+checkEvery/2)
	defer cancel()
	<-ctx.Done()
	synctest.Wait()
}
