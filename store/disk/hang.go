package disk

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// slowest is the rate, in bytes a second, below which a disk is taken for one that
// hangs: an operation may take that much longer for the bytes that it has to write.
const slowest = 4 << 20

// limitParts is into how many parts a limit is cut; see [Limit].
const limitParts = 10

// Allow is the time that a disk has for an operation that writes bytes, where one that
// writes nothing has limit. A slow disk that makes progress is not one that hangs.
func Allow(limit time.Duration, bytes int64) time.Duration {
	return limit + (time.Duration(bytes) * time.Second / slowest).Round(time.Millisecond)
}

// Limit calls over with d unless done is called within d, and again each time that d has
// passed once more, with all of it, until over returns false. The time is that in which
// this process ran: one that was stopped for a while, or whose machine was, has no disk
// to blame.
func Limit(d time.Duration, over func(waited time.Duration) (again bool)) (done func()) {
	var mu sync.Mutex
	var timer *time.Timer
	ended, seen := false, 0
	tick := func() {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		seen++ // a stop of any length makes one of them late
		if seen%limitParts == 0 && !over(d*time.Duration(seen/limitParts)) {
			ended = true
			return
		}
		timer.Reset(d / limitParts)
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(d/limitParts, tick)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		timer.Stop()
	}
}

// Hangs is a file system that reports operations of a disk that does not answer: those
// that write or make durable, and take longer than [Allow] gives them. Reads are not
// watched: the requests that are admitted from memory need none.
type Hangs struct {
	vfs.FS
	limit time.Duration
	over  func(op, name string, waited time.Duration) (again bool)
	stuck atomic.Int64 // operations that were reported and have not returned
}

// NewHangs returns fs with a limit for each operation. over is called for an operation
// that exceeds it, as [Limit] says, while that still waits: it must not touch the disk.
func NewHangs(fs vfs.FS, limit time.Duration, over func(op, name string, waited time.Duration) (again bool)) *Hangs {
	return &Hangs{FS: fs, limit: limit, over: over}
}

// Unwrap implements [vfs.FS].
func (h *Hangs) Unwrap() vfs.FS { return h.FS }

// begin watches an operation that writes bytes until done is called.
func (h *Hangs) begin(op, name string, bytes int64) func() {
	d := Allow(h.limit, bytes)
	var stuck atomic.Bool
	done := Limit(d, func(waited time.Duration) bool {
		if !stuck.Swap(true) {
			h.stuck.Add(1)
		}
		return h.over(op, name, waited)
	})
	return func() {
		if done(); stuck.Load() {
			h.stuck.Add(-1)
		}
	}
}

// Stuck reports whether an operation that was reported still waits.
func (h *Hangs) Stuck() bool { return h.stuck.Load() > 0 }

// Create implements [vfs.FS].
func (h *Hangs) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer h.begin("create", name, 0)()
	return h.file(name)(h.FS.Create(name, c))
}

// OpenReadWrite implements [vfs.FS].
func (h *Hangs) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	defer h.begin("open", name, 0)()
	return h.file(name)(h.FS.OpenReadWrite(name, c, o...))
}

// ReuseForWrite implements [vfs.FS].
func (h *Hangs) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer h.begin("reuse", to, 0)()
	return h.file(to)(h.FS.ReuseForWrite(from, to, c))
}

// OpenDir implements [vfs.FS].
func (h *Hangs) OpenDir(name string) (vfs.File, error) {
	return h.file(name)(h.FS.OpenDir(name))
}

// Link implements [vfs.FS].
func (h *Hangs) Link(from, to string) error {
	defer h.begin("link", to, 0)()
	return h.FS.Link(from, to)
}

// Remove implements [vfs.FS].
func (h *Hangs) Remove(name string) error {
	defer h.begin("remove", name, 0)()
	return h.FS.Remove(name)
}

// Rename implements [vfs.FS].
func (h *Hangs) Rename(from, to string) error {
	defer h.begin("rename", to, 0)()
	return h.FS.Rename(from, to)
}

// file watches what is done with a file called name.
func (h *Hangs) file(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return &hangFile{File: f, fs: h, name: name}, nil
	}
}

// hangFile is a file of [Hangs].
type hangFile struct {
	vfs.File
	fs    *Hangs
	name  string
	dirty atomic.Int64 // bytes written since the last fsync began
}

func (f *hangFile) Write(p []byte) (int, error) {
	f.dirty.Add(int64(len(p)))
	defer f.fs.begin("write", f.name, int64(len(p)))()
	return f.File.Write(p)
}

func (f *hangFile) WriteAt(p []byte, at int64) (int, error) {
	f.dirty.Add(int64(len(p)))
	defer f.fs.begin("write", f.name, int64(len(p)))()
	return f.File.WriteAt(p, at)
}

func (f *hangFile) Sync() error {
	defer f.fs.begin("fsync", f.name, f.dirty.Swap(0))()
	return f.File.Sync()
}

func (f *hangFile) SyncData() error {
	defer f.fs.begin("fsync", f.name, f.dirty.Swap(0))()
	return f.File.SyncData()
}

func (f *hangFile) SyncTo(length int64) (bool, error) {
	// It begins to write at most what is dirty, and need not finish.
	defer f.fs.begin("fsync", f.name, f.dirty.Load())()
	return f.File.SyncTo(length)
}
