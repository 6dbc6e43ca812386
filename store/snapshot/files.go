package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/pack"
)

// file is a file of a snapshot as it was when the snapshot was finished.
type file struct {
	Name string `json:"name"` // in the snapshot's directory
	Size int64  `json:"size"`
	// Sum is the SHA-256 of the content; "" for files of which each block has a checksum
	// of its own. They may have gigabytes, and a block cannot be missing from them
	// without another one showing it.
	Sum string `json:"sum,omitzero"`
}

// blocks reports whether each block of the file with this name has a checksum. Of all other
// files, Pebble takes damage for the end that a crash left.
func blocks(name string) bool {
	return name == streamFile || path.Ext(name) == ".sst" || path.Ext(name) == ".blob"
}

// describe lists the files of the snapshot in dir, but for its meta file.
func describe(fs vfs.FS, dir string) (out []file, err error) {
	for _, sub := range []string{"", checkpoint} {
		names, err := fs.List(fs.PathJoin(dir, sub))
		if sub != "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		slices.Sort(names)
		for _, name := range names {
			if name == checkpoint || strings.HasPrefix(name, metaFile) || name == lockFile {
				continue
			}
			f := file{Name: path.Join(sub, name)}
			if f.Size, f.Sum, err = measure(fs, fs.PathJoin(dir, sub, name), !blocks(name)); err != nil {
				return nil, err
			}
			out = append(out, f)
		}
	}
	return out, nil
}

// lockFile is Pebble's, and comes with each opening.
const lockFile = "LOCK"

func measure(fs vfs.FS, name string, whole bool) (size int64, sum string, err error) {
	info, err := fs.Stat(name)
	if err != nil || !whole {
		if err == nil {
			size = info.Size()
		}
		return size, "", err
	}
	f, err := fs.Open(name)
	if err != nil {
		return 0, "", err
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// verify compares the files of a snapshot with the list in its meta file. One of an earlier
// version has no list.
func (s *Store) verify(m *meta) error {
	for _, want := range m.Files {
		name := s.path(m.ID, want.Name)
		size, sum, err := measure(s.cfg.FS, name, want.Sum != "")
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s is missing", ErrDamaged, name)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if size != want.Size || sum != want.Sum {
			return fmt.Errorf("%w: %s is not the file that was written (%d bytes of %d)", ErrDamaged, name, size, want.Size)
		}
	}
	return nil
}

// Damaged reports whether err says that a snapshot differs from the one that was written.
func Damaged(err error) bool { return errors.Is(err, ErrDamaged) || disk.Damaged(err) }

// asideSuffix ends the names of snapshots that were found damaged. The newest one is kept.
const asideSuffix = ".damaged"

// setAside takes a damaged snapshot out of use, and tells so in one line.
func (s *Store) setAside(id string, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fs := s.cfg.FS
	if _, err := fs.Stat(s.path(id)); err != nil {
		return // another reader was faster
	}
	_ = s.removeAside() // what stays costs space only
	err := errors.Join(fs.Rename(s.path(id), s.path(id+asideSuffix)), pack.SyncDir(fs, s.cfg.Dir))
	delete(s.size, id)
	s.cfg.Logger.Error("a snapshot is damaged and is not used", "id", id, "error", errors.Join(why, err), "kept", s.path(id+asideSuffix))
	if s.cfg.Damaged != nil {
		s.cfg.Damaged()
	}
}

// removeAside removes the snapshots that were set aside.
func (s *Store) removeAside() error {
	names, err := s.cfg.FS.List(s.cfg.Dir)
	for _, name := range names {
		if strings.HasSuffix(name, asideSuffix) {
			err = errors.Join(err, s.cfg.FS.RemoveAll(s.path(name)))
		}
	}
	return err
}
