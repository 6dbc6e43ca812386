package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Bounds of the ballast: a hundredth of the volume, within these.
const (
	minBallast = 4 << 20
	maxBallast = 64 << 20
)

// checkEvery is how often free space is looked at.
const checkEvery = time.Second

// Space is the file system that all of a node's files go through. It keeps a
// ballast file, gives its space back when the volume runs full so that the
// writes under way can finish, and reports that the volume is full until there is
// room for the ballast again.
//
// Writes that found no space are repeated once, after the ballast is gone; an
// fsync never is.
type Space struct {
	vfs.FS
	inner   vfs.FS
	ballast string
	size    uint64 // of the ballast; 0 where free space is unknown
	log     *slog.Logger
	full    atomic.Bool
	free    atomic.Uint64 // bytes, when the volume was looked at last
	yield   atomic.Int32  // releases that wait for mu: the ballast is not written on
	mu      sync.Mutex    // held by check and release: the look at the volume, the ballast and full belong together
}

// NewSpace returns the file system for the data directory dir, which exists.
func NewSpace(inner vfs.FS, dir string, log *slog.Logger) (*Space, error) {
	s := &Space{inner: inner, ballast: inner.PathJoin(dir, "ballast"), log: log}
	s.FS = vfs.OnDiskFull(noRetry{inner}, s.release)
	use, err := inner.GetDiskUsage(dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return s, nil // nothing can be foreseen; only a failed write shows it
	}
	if err != nil {
		return nil, fmt.Errorf("free space of %q: %w", dir, err)
	}
	s.size = min(max(use.TotalBytes/100, minBallast), maxBallast)
	s.free.Store(use.AvailBytes)
	return s, nil
}

// Free is the free space of the volume in bytes, as of at most a second ago while Watch runs;
// known is false where it cannot be measured.
func (s *Space) Free() (bytes uint64, known bool) { return s.free.Load(), s.size > 0 }

// Full is true from the moment the volume runs out of space, or nearly so, until
// there is room again. The node takes no new writes meanwhile.
func (s *Space) Full() bool { return s.full.Load() }

// Watch keeps the ballast and Full up to date until ctx ends.
func (s *Space) Watch(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		s.check()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// check compares the free space with the ballast's size. Less than that is full;
// thrice that, the ballast included, is room again: the gap keeps a volume at
// the edge from going back and forth.
func (s *Space) check() {
	if s.size == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	use, err := s.inner.GetDiskUsage(s.inner.PathDir(s.ballast))
	if err != nil {
		s.log.Warn("cannot read the free space", "error", err)
		return
	}
	s.free.Store(use.AvailBytes)
	_, err = s.inner.Stat(s.ballast)
	whole := err == nil
	switch {
	case use.AvailBytes < s.size:
		s.fill("less free space than the ballast's size")
	case whole && use.AvailBytes < 2*s.size, !whole && use.AvailBytes < 3*s.size:
		// Between the two: stay as it is.
	default:
		if !whole {
			if err := s.writeLocked(); err != nil {
				s.log.Warn("cannot reserve disk space", "file", s.ballast, "error", err)
				return
			}
		}
		if s.full.CompareAndSwap(true, false) {
			s.log.Info("disk has space again: writes are accepted", "free_bytes", use.AvailBytes)
		}
	}
}

func (s *Space) fill(why string) {
	if s.full.CompareAndSwap(false, true) {
		s.log.Error("disk is full: writes are refused until there is space", "reason", why, "needed_bytes", 3*s.size)
	}
}

// release runs while every write that goes through s waits. A ballast that is being
// written is given up, for its part takes the space that they need.
func (s *Space) release() {
	s.yield.Add(1)
	defer s.yield.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill("a write found no space")
	if err := s.inner.Remove(s.ballast); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Error("cannot release reserved disk space", "file", s.ballast, "error", err)
	}
}

// errYielded: a write found no space while the ballast was being made.
var errYielded = errors.New("a write needs the space")

// writeLocked makes the ballast with real blocks, under another name until it is whole.
func (s *Space) writeLocked() (err error) {
	tmp := s.ballast + ".tmp"
	f, err := s.inner.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	chunk := make([]byte, 1<<20)
	for n := uint64(0); err == nil && n < s.size; n += uint64(len(chunk)) {
		if _, err = f.Write(chunk); err == nil {
			err = f.Sync() // each chunk, so that release waits for one at most
		}
		if err == nil && s.yield.Load() > 0 {
			err = errYielded
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.inner.Rename(tmp, s.ballast)
	}
	if err != nil {
		return errors.Join(err, s.inner.Remove(tmp))
	}
	return nil
}

// noRetry hides from [vfs.OnDiskFull] that an fsync failed for lack of space: it
// would repeat it, and a repeated fsync may succeed without the data.
type noRetry struct{ vfs.FS }

func (n noRetry) Unwrap() vfs.FS { return n.FS }

func (n noRetry) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return onceFile(n.FS.Create(name, c))
}

func (n noRetry) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return onceFile(n.FS.OpenReadWrite(name, c, o...))
}

func (n noRetry) OpenDir(name string) (vfs.File, error) {
	return onceFile(n.FS.OpenDir(name))
}

func (n noRetry) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return onceFile(n.FS.ReuseForWrite(from, to, c))
}

type syncOnce struct{ vfs.File }

func onceFile(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return syncOnce{f}, nil
}

func (f syncOnce) Sync() error     { return final(f.File.Sync()) }
func (f syncOnce) SyncData() error { return final(f.File.SyncData()) }

func (f syncOnce) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, final(err)
}

// final turns an fsync's lack of space into an error that is not recognised as
// such.
func final(err error) error {
	if err != nil && vfs.IsNoSpaceError(err) {
		return fmt.Errorf("fsync: %v", err) //nolint:errorlint // not %w: see noRetry
	}
	return err
}
