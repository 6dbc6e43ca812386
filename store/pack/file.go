package pack

import (
	"errors"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileMode is the mode of the files that [WriteFile] writes: many hold secrets.
const fileMode = 0o600

// WriteFile replaces the file name by data, mode 0600. It writes a file beside it,
// name + ".tmp", makes it durable and renames it. When WriteFile returns nil, the
// new content survives a power loss; after an error or a crash the file is the old
// one or the new one whole. The directory must exist, and only one goroutine may
// replace the file at a time.
func WriteFile(fs vfs.FS, name string, data []byte) error {
	tmp := name + ".tmp"
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if fd := f.Fd(); fd != vfs.InvalidFd { // before the data is in it, and regardless of the umask
		err = syscall.Fchmod(int(fd), fileMode)
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(tmp, name)
	}
	if err != nil {
		_ = fs.Remove(tmp) // the next WriteFile replaces a file that stays
		return err
	}
	return SyncDir(fs, fs.PathDir(name))
}

// SyncDir makes the names in a directory durable: files that were created, renamed
// or removed in it.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
