package encfs

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is an encrypting [vfs.FS]. It implements vfs.FS with these limits: a file that
// exists cannot be opened for writing, nor written at an offset, and a file cannot be
// read through the handle that writes it.
type FS struct {
	vfs.FS // of the names; every file is opened by the methods below
	keys   Keys
	names  sync.RWMutex // see the package comment

	mu   sync.Mutex                  // guards open
	open map[[saltSize]byte]struct{} // the files that are being written
}

// New returns a file system whose files are encrypted in inner.
func New(inner vfs.FS, keys Keys) *FS {
	return &FS{FS: inner, keys: keys, open: map[[saltSize]byte]struct{}{}}
}

// Unwrap implements [vfs.FS].
func (f *FS) Unwrap() vfs.FS { return f.FS }

// Create implements [vfs.FS]. The header of a log is durable when Create returns: an
// unsynced tail then begins after it.
func (f *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.names.RLock()
	defer f.names.RUnlock()
	return f.create(name, layoutOf(f.PathBase(name)), c)
}

func (f *FS) create(name string, l layout, c vfs.DiskWriteCategory) (vfs.File, error) {
	h, raw, aead, err := newHeader(l, f.keys)
	if err != nil {
		return nil, err
	}
	inner, err := f.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.open[h.salt] = struct{}{}
	f.mu.Unlock()
	base := writing{File: inner, aead: aead, fs: f, salt: h.salt}
	if l == blocks {
		return &blockWriter{writing: base, out: append(make([]byte, 0, batchSize), raw...)}, nil
	}
	w := &frameWriter{writing: base, log: l == logs}
	if err = w.put(raw); err == nil && w.log {
		err = inner.Sync()
		w.synced, w.marked = w.at, w.at
	}
	if err != nil {
		return nil, w.end(err)
	}
	return w, nil
}

// written forgets a file that is not written any more.
func (f *FS) written(salt [saltSize]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, salt)
}

// isOpen reports whether a file is being written.
func (f *FS) isOpen(salt [saltSize]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.open[salt]
	return ok
}

// ReuseForWrite implements [vfs.FS]: it removes the old file and creates a new one, since
// bytes under an old key are in nobody's way but of no use either.
func (f *FS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Remove(from); err != nil {
		return nil, err
	}
	return f.Create(to, c)
}

// OpenReadWrite implements [vfs.FS] for files that do not exist yet.
func (f *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if _, err := f.FS.Stat(name); err == nil {
		return nil, fmt.Errorf("open %q for writing: an encrypted file is written once: %w", name, vfs.ErrUnsupported)
	}
	return f.Create(name, c)
}

// Open implements [vfs.FS].
func (f *FS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	inner, err := f.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	file, err := f.reader(inner, name)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return file, nil
}

func (f *FS) reader(inner vfs.File, name string) (vfs.File, error) {
	info, err := inner.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return inner, nil
	}
	damaged := func(err error) error { return &DamageError{Path: name, Reason: err.Error()} }
	var raw [headerSize]byte
	n, err := readAt(inner, raw[:], 0)
	if err != nil {
		return nil, err
	}
	if n < headerSize || raw == ([headerSize]byte{}) && info.Size() == headerSize {
		// A crash while a log is created: its header was not durable, so no frame was written.
		if layoutOf(f.PathBase(name)) == logs {
			return &frameReader{File: inner, name: name, log: true, ended: true, end: headerSize}, nil
		}
		return nil, damaged(errors.New("it is shorter than the header of an encrypted file"))
	}
	h, aead, err := openHeader(raw[:], f.keys)
	if err != nil {
		return nil, damaged(err)
	}
	if h.layout != blocks {
		return &frameReader{File: inner, name: name, aead: aead, log: h.layout == logs, at: headerSize}, nil
	}
	r := &blockReader{File: inner, name: name, aead: aead, sealed: info.Size() - headerSize}
	return r, r.check()
}

// readAt fills p as far as the file reaches; the end is no error.
func readAt(f vfs.File, p []byte, off int64) (n int, err error) {
	n, err = f.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// Stat implements [vfs.FS]: the size is that of the plaintext.
func (f *FS) Stat(name string) (vfs.FileInfo, error) {
	info, err := f.FS.Stat(name)
	if err != nil || info.IsDir() {
		return info, err
	}
	if layoutOf(f.PathBase(name)) == blocks {
		return sized{info, plainSize(info.Size() - headerSize)}, nil
	}
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	got, err := file.Stat()
	return got, errors.Join(err, file.Close())
}

// sized is the information about a file, with the size of its plaintext.
type sized struct {
	vfs.FileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }

// Remove implements [vfs.FS].
func (f *FS) Remove(name string) error {
	f.names.RLock()
	defer f.names.RUnlock()
	return f.FS.Remove(name)
}

// RemoveAll implements [vfs.FS].
func (f *FS) RemoveAll(name string) error {
	f.names.RLock()
	defer f.names.RUnlock()
	return f.FS.RemoveAll(name)
}

// Rename implements [vfs.FS].
func (f *FS) Rename(from, to string) error {
	f.names.RLock()
	defer f.names.RUnlock()
	return f.FS.Rename(from, to)
}

// Link implements [vfs.FS].
func (f *FS) Link(from, to string) error {
	f.names.RLock()
	defer f.names.RUnlock()
	return f.FS.Link(from, to)
}
