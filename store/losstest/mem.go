package losstest

import (
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Mem is a crashable file system in memory that can be cloned while it is used. vfs.MemFS
// cannot: it takes its two locks in the other order in Link, and takes the same read lock twice
// in ReuseForWrite and Lock, so that a CrashClone at such a moment waits for ever.
type Mem struct {
	*vfs.MemFS
	nested sync.RWMutex // held for reading by the three calls, for writing by CrashClone
}

// NewMem returns an empty file system.
func NewMem() *Mem { return &Mem{MemFS: vfs.NewCrashableMem()} }

// CrashClone is what a loss of power at this moment may leave (vfs.MemFS.CrashClone).
func (m *Mem) CrashClone(cfg vfs.CrashCloneCfg) *Mem {
	m.nested.Lock()
	defer m.nested.Unlock()
	return &Mem{MemFS: m.MemFS.CrashClone(cfg)}
}

// Link implements vfs.FS.
func (m *Mem) Link(from, to string) error {
	m.nested.RLock()
	defer m.nested.RUnlock()
	return m.MemFS.Link(from, to)
}

// ReuseForWrite implements vfs.FS.
func (m *Mem) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	m.nested.RLock()
	defer m.nested.RUnlock()
	return m.MemFS.ReuseForWrite(from, to, c)
}

// Lock implements vfs.FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.nested.RLock()
	defer m.nested.RUnlock()
	return m.MemFS.Lock(name)
}
