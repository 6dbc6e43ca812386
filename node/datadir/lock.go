package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Lock is a data directory that this process holds.
type Lock struct {
	file *os.File // LOCK, with the flock on it
}

// Release lets another process use the directory. The file stays: removing it
// would race with that process.
func (l *Lock) Release() error { return l.file.Close() }

// Open makes dir if it is missing, mode 0700, and locks it until Release is
// called or the process ends. It refuses a directory in which a restore was
// interrupted.
func Open(dir string) (*Lock, error) {
	l, err := Acquire(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(dir, RestoringFile)); !errors.Is(err, os.ErrNotExist) {
		l.Release()
		return nil, errors.New("a restore into the data directory was interrupted; run perfgate restore again, or start with an empty directory")
	}
	return l, nil
}

// Acquire is [Open] for a restore: it accepts a directory in which another one was
// interrupted.
func Acquire(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", Reason(denied(dir, err)))
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", Reason(denied(dir, err)))
	}
	if !info.IsDir() {
		return nil, errors.New("must be a directory, not a file")
	}
	if info.Mode().Perm()&0o077 != 0 {
		// Volumes are often mounted with all permissions. Everything below is 0600
		// anyway, so a directory owned by another user is no reason to refuse.
		if err := os.Chmod(dir, 0o700); err != nil && !errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("restrict the data directory to its owner: %w", Reason(err))
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory is not writable: %w", Reason(denied(unwritable(dir), err)))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the data directory: %w", err)
		}
		return nil, errors.New("the data directory is in use by another perfgate" + holder(f) + "; stop that one or choose another directory")
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("the data directory is not writable: %w", Reason(err))
	}
	if err := accessible(dir); err != nil {
		f.Close()
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	return &Lock{f}, nil
}

// unwritable is the reason that LOCK in dir could not be opened for writing: the
// file itself if it is there.
func unwritable(dir string) string {
	lock := filepath.Join(dir, LockFile)
	if _, err := os.Lstat(lock); err == nil && syscall.Access(dir, mayWrite|mayEnter) == nil {
		return lock
	}
	return dir
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder names the process that has written its id to f, or returns "".
func holder(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// Check tells whether [Open] would probably succeed. It makes and locks nothing.
func Check(dir string) error {
	dir = filepath.Clean(dir)
	if err := accessible(dir); err != nil {
		return fmt.Errorf("open the data directory: %w", err)
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s must be a directory, not a file", dir)
		case err == nil:
			if err := syscall.Access(dir, mayWrite|mayEnter); err != nil {
				return fmt.Errorf("the data directory is not writable: %w", denied(dir, err))
			}
			return nil
		case !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("open the data directory: %w", Reason(denied(dir, err)))
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}

// stateless are the files that hold no state: they may be in the directory before
// the first start of a node.
var stateless = []string{
	LocalSealFile, LockFile, RestoringFile, RestoringFile + TempSuffix, OperatorTokenFile, AdminCertFile, AdminKeyFile,
	"lost+found", // of a file system mounted there
}

// Occupant names an entry of dir that a restore would have to replace. It is "" in
// a directory without state, and in one in which a restore was interrupted: the
// next restore removes the remains of it.
func Occupant(dir string) (name string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("list the data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == RestoringFile {
			return "", nil
		}
		if name == "" && !slices.Contains(stateless, e.Name()) && !strings.HasPrefix(e.Name(), DamagedPrefix) {
			name = e.Name()
		}
	}
	return name, nil
}
