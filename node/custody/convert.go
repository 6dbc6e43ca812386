package custody

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/store/encfs"
	"github.com/perfgate/perfgate/store/pack"
)

// convertSuffix ends the name of a file that is being encrypted.
const convertSuffix = ".encrypting"

// convertSays is how often the log reports the progress of a conversion.
const convertSays = 5 * time.Second

// convert encrypts the files of earlier versions, one after the other. No database is
// open. A crash leaves some files encrypted and the others plain, and the keyring says so
// until all are encrypted.
func (v *Vault) convert(ctx context.Context) error {
	c := conversion{v: v, files: encfs.New(v.fs, v.ring), done: map[inode]string{}, said: v.now()}
	v.log.Info("encrypting the data directory; the node starts when this is done", "dir", v.dir)
	if err := v.walk(func(f file) error { return errors.Join(ctx.Err(), c.one(f)) }); err != nil {
		return err
	}
	for dir := range c.dirs {
		if err := pack.SyncDir(v.fs, dir); err != nil {
			return err
		}
	}
	if err := v.ring.Converted(); err != nil {
		return err
	}
	v.log.Info("the data directory is encrypted", "files", c.n, "bytes", c.bytes)
	return nil
}

// inode is a file apart from its names.
type inode struct{ device, number uint64 }

// conversion is one pass over the files.
type conversion struct {
	v     *Vault
	files *encfs.FS
	done  map[inode]string // encrypted copies of files with several names: as many as a snapshot has tables
	dirs  map[string]bool  // changed
	n     int
	bytes int64
	said  time.Time
}

func (c *conversion) one(f file) error {
	if strings.HasSuffix(f.name, convertSuffix) {
		return c.v.fs.Remove(f.name) // of an interrupted pass
	}
	if f.encrypted {
		return nil
	}
	temp := f.name + convertSuffix
	if err := c.v.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	id, several := links(f) // several only for the first of its names
	if copied, ok := c.done[id]; ok {
		if err := c.v.fs.Link(copied, temp); err != nil {
			return err
		}
	} else if err := c.copy(temp, f.name); err != nil {
		return err
	}
	if err := c.v.fs.Rename(temp, f.name); err != nil {
		return err
	}
	if several {
		c.done[id] = f.name
	}
	if c.dirs == nil {
		c.dirs = map[string]bool{}
	}
	c.dirs[c.v.fs.PathDir(f.name)] = true
	c.n++
	c.bytes += f.size
	if now := c.v.now(); now.Sub(c.said) >= convertSays {
		c.said = now
		c.v.log.Info("encrypting the data directory", "files", c.n, "bytes", c.bytes)
	}
	return nil
}

func (c *conversion) copy(temp, name string) error {
	src, err := c.v.fs.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(c.files.Import(temp, name, src), src.Close())
}

// links identifies a file that has several names, as the tables of a checkpoint do.
func links(f file) (id inode, several bool) {
	s, ok := f.info.Sys().(*syscall.Stat_t)
	if !ok {
		return id, false
	}
	return inode{uint64(s.Dev), s.Ino}, s.Nlink > 1 //nolint:unconvert // Dev is signed on other systems
}
