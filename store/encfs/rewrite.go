package encfs

import (
	"errors"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// RewriteSuffix ends the name of a file that is being encrypted under another key. A
// crash may leave one: it counts for nothing, and [FS.Rewrite] writes it again.
const RewriteSuffix = ".rekey"

// ErrOpen is the answer of [FS.Rewrite] for a file that is being written.
var ErrOpen = errors.New("the file is being written")

// KeyOf reads the id of the data key that a file is encrypted with, and whether the file
// is encrypted at all. It does not authenticate the header.
func KeyOf(inner vfs.FS, name string) (id KeyID, encrypted bool, err error) {
	h, encrypted, err := headerOf(inner, name)
	return h.key, encrypted, err
}

func headerOf(inner vfs.FS, name string) (h header, encrypted bool, err error) {
	f, err := inner.Open(name)
	if err != nil {
		return h, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var raw [headerSize]byte
	n, err := readAt(f, raw[:], 0)
	if err != nil {
		return h, false, err
	}
	h, err = parseHeader(raw[:n])
	if errors.Is(err, errNoHeader) {
		return h, false, nil
	}
	if err != nil {
		return h, false, &DamageError{Path: name, Reason: err.Error()}
	}
	return h, true, nil
}

// Rewrite encrypts a file again if it is not encrypted with the current data key. After a
// crash, the file is the old one or the new one. Open handles keep reading the old one. It
// returns [fs.ErrNotExist] if the file is removed meanwhile, and [ErrOpen] if it is being
// written.
func (f *FS) Rewrite(name string) error {
	h, encrypted, err := headerOf(f.FS, name)
	current, _ := f.keys.Current()
	switch {
	case err != nil:
		return err
	case !encrypted:
		return &DamageError{Path: name, Reason: errNoHeader.Error()}
	case f.isOpen(h.salt):
		return ErrOpen
	case h.key == current:
		return nil
	}
	temp := name + RewriteSuffix
	if err := f.copyTo(temp, name, h.layout); err != nil {
		return errors.Join(err, f.discard(temp))
	}
	if err := f.replace(temp, name, h); err != nil {
		return errors.Join(err, f.discard(temp))
	}
	return f.syncDir(f.PathDir(name))
}

// copyTo writes the content of name into temp, durably.
func (f *FS) copyTo(temp, name string, l layout) (err error) {
	src, err := f.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return f.write(temp, l, src)
}

// Import writes src into the new file temp, durably, in the layout of a file called name.
// The caller renames it.
func (f *FS) Import(temp, name string, src io.Reader) error {
	return f.write(temp, layoutOf(f.PathBase(name)), src)
}

func (f *FS) write(name string, l layout, src io.Reader) error {
	f.names.RLock()
	dst, err := f.create(name, l, vfs.WriteCategoryUnspecified)
	f.names.RUnlock()
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 4*maxFrame))
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// replace gives temp the name of the file that it was copied from, unless that is gone or
// another one by now.
func (f *FS) replace(temp, name string, copied header) error {
	f.names.Lock()
	defer f.names.Unlock()
	h, _, err := headerOf(f.FS, name)
	if err != nil {
		return err
	}
	if h.salt != copied.salt {
		return fs.ErrNotExist
	}
	return f.FS.Rename(temp, name)
}

func (f *FS) discard(temp string) error {
	if err := f.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *FS) syncDir(dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
