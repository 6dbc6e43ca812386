package custody

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/encfs"
	"github.com/perfgate/perfgate/store/keyring"
)

// Vault has the keys of an open data directory.
type Vault struct {
	fs     vfs.FS // without encryption
	dir    string
	log    *slog.Logger
	now    func() time.Time
	source *source
	ring   *keyring.Ring

	turn chan struct{} // holds one while a rotation runs

	mu       sync.Mutex // guards the rest
	files    *encfs.FS  // from Attach
	roll     func() error
	progress Progress
}

// Open reads the KEK and opens the keyring of the data directory of c, which is locked.
// It makes both for a directory that has none. An error that the configuration can correct
// is a [*config.UsageError]. Nothing was changed then.
func Open(ctx context.Context, fsys vfs.FS, c *config.Config, log *slog.Logger) (*Vault, error) {
	v := &Vault{fs: fsys, dir: c.Node.DataDir, log: log, now: time.Now, turn: make(chan struct{}, 1)}
	var err error
	if v.source, err = newSource(fsys, c); err != nil {
		return nil, err
	}
	kek, others, found, err := v.source.read(ctx)
	if err != nil {
		return nil, err
	}
	exists, err := keyring.Exists(fsys, v.path())
	if err != nil {
		return nil, fmt.Errorf("look for the keyring %q: %w", v.path(), err)
	}
	if exists {
		err = v.open(kek, others, found)
	} else {
		err = v.create(kek, found)
	}
	if err != nil {
		return nil, err
	}
	if v.source.beside {
		log.Warn("the key of the encrypted data is beside the data, which protects little: who copies the directory has both; keep it elsewhere with encryption.key_file, encryption.key_command or "+config.EncryptionKeyEnv,
			"file", v.source.path)
	}
	return v, nil
}

// Convert encrypts the files of earlier versions, before anything opens them. It returns
// at once if there are none.
func (v *Vault) Convert(ctx context.Context) error {
	if !v.ring.Converting() {
		return nil
	}
	if err := v.convert(ctx); err != nil {
		return fmt.Errorf("encrypt the data directory %q: %w; the next start goes on with it", v.dir, err)
	}
	return nil
}

func (v *Vault) path() string { return v.fs.PathJoin(v.dir, datadir.KeyringFile) }

// open opens the keyring that is there.
func (v *Vault) open(kek keyring.Key, others []keyring.Key, found bool) (err error) {
	keks := others
	if found {
		keks = append([]keyring.Key{kek}, others...)
	}
	if len(keks) == 0 {
		return v.source.fault("it does not exist, and the data directory is encrypted: put back the key that it was encrypted with")
	}
	var wrong *keyring.WrongKeyError
	if v.ring, err = keyring.Open(v.fs, v.path(), keks...); errors.As(err, &wrong) {
		return v.source.fault(err.Error())
	}
	if err != nil {
		return err
	}
	if found && v.ring.KEK() == kek.ID() {
		return nil // a next key file that no keyring needs is written again by the next rotation
	}
	if v.source.kind == FromFile {
		return v.source.adopt() // a rotation was interrupted after it had wrapped the keyring
	}
	if err := v.ring.Rewrap(kek); err != nil {
		return err
	}
	v.log.Info("the keyring is wrapped with the new key; "+config.PreviousKeyEnv+" is not needed any more", "kek", kek.ID())
	return nil
}

// create makes the keyring of a directory that has none, and the default key file.
func (v *Vault) create(kek keyring.Key, found bool) (err error) {
	plain := false
	err = v.walk(func(f file) error {
		if f.encrypted {
			return fmt.Errorf("the keyring %q is missing, but %q is encrypted: put the keyring back, or empty the data directory and let the node join its cluster again, or restore a backup", v.path(), f.name)
		}
		plain = true
		return nil
	})
	if err != nil {
		return err
	}
	if !found {
		if !v.source.own() {
			return v.source.fault("it does not exist; make one with: (umask 077; openssl rand -hex 32 > FILE)")
		}
		kek = keyring.NewKey()
		if err := v.source.write(v.source.path, &kek); err != nil {
			return err
		}
	}
	v.ring, err = keyring.Create(v.fs, v.path(), kek, plain, v.now())
	return err
}

// Attach returns the file system for the encrypted files, which are in inner. It must be
// called once, after Convert, and is the only way to change them afterwards.
func (v *Vault) Attach(inner vfs.FS) vfs.FS {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.files != nil {
		panic("BUG: a data directory has one file system")
	}
	v.files = encfs.New(inner, v.ring)
	return v.files
}

// OnRotate sets a function that makes the databases begin new logs, for [Vault.RotateData].
func (v *Vault) OnRotate(roll func() error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.roll = roll
}

// file is a file that is or should be encrypted.
type file struct {
	name      string
	size      int64 // on the disk
	info      vfs.FileInfo
	encrypted bool
	key       encfs.KeyID
}

// walk calls use with each file of the data directory that is or should be encrypted.
// Files that are removed meanwhile are left out.
func (v *Vault) walk(use func(file) error) error {
	names, err := v.fs.List(v.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if datadir.Encrypted(name) {
			if err := v.visit(v.fs.PathJoin(v.dir, name), use); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *Vault) visit(path string, use func(file) error) error {
	gone := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	info, err := v.fs.Stat(path)
	if err != nil {
		return gone(err)
	}
	if info.IsDir() {
		if strings.HasSuffix(path, datadir.AsideSuffix) && v.fs.PathBase(v.fs.PathDir(path)) == datadir.SnapshotDir {
			return nil // its files cannot be written again, and end with the key that they have
		}
		names, err := v.fs.List(path)
		if err != nil {
			return gone(err)
		}
		for _, name := range names {
			if err := v.visit(v.fs.PathJoin(path, name), use); err != nil {
				return err
			}
		}
		return nil
	}
	if v.fs.PathBase(path) == datadir.LockFile {
		return nil // Pebble's, empty
	}
	f := file{name: path, size: info.Size(), info: info}
	if f.key, f.encrypted, err = encfs.KeyOf(v.fs, path); err != nil {
		return gone(err)
	}
	return use(f)
}
