package replicatest

import (
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SyncSpy calls After when an fsync has succeeded, one at a time and with Mu held.
type SyncSpy struct {
	vfs.FS
	Mu    *sync.Mutex
	After func()
}

// Lock implements [vfs.FS]. After may clone a file system in memory, of which Lock
// takes the read lock twice: a clone that waits for the write lock in between would
// stop both for ever.
func (s SyncSpy) Lock(name string) (io.Closer, error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return s.FS.Lock(name)
}

type spiedFile struct {
	vfs.File
	after func()
}

func (s SyncSpy) spy(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return spiedFile{f, func() {
		s.Mu.Lock()
		defer s.Mu.Unlock()
		s.After()
	}}, nil
}

// Create implements [vfs.FS].
func (s SyncSpy) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.spy(s.FS.Create(name, c))
}

// ReuseForWrite implements [vfs.FS].
func (s SyncSpy) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.spy(s.FS.ReuseForWrite(from, to, c))
}

// OpenDir implements [vfs.FS].
func (s SyncSpy) OpenDir(name string) (vfs.File, error) { return s.spy(s.FS.OpenDir(name)) }

func (f spiedFile) Sync() error {
	err := f.File.Sync()
	f.after()
	return err
}

func (f spiedFile) SyncData() error {
	err := f.File.SyncData()
	f.after()
	return err
}
