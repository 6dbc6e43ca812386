package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockFile is held for as long as a node uses its data directory. It holds the
// process id, for the sentence that refuses a second node.
const lockFile = "LOCK"

// OpenDataDir makes c's data directory if it is missing, mode 0700, and locks it
// until unlock is called or the process ends. One in which a restore was broken
// off is refused. Every error is a [*UsageError].
func OpenDataDir(c *Config) (unlock func() error, err error) {
	unlock, err = lockDataDir(c)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(c.Node.DataDir, restoringFile)); !errors.Is(err, os.ErrNotExist) {
		unlock()
		return nil, c.fault("node.data_dir", "a restore into the data directory was broken off; run perfgate restore again, or start with an empty directory")
	}
	return unlock, nil
}

// lockDataDir is OpenDataDir for commands that know what they find.
func lockDataDir(c *Config) (unlock func() error, err error) {
	dir := c.Node.DataDir
	fault := func(want string) error { return c.fault("node.data_dir", want) }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault("make the data directory: " + reason(err))
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fault("open the data directory: " + reason(err))
	}
	if !info.IsDir() {
		return nil, fault("it is a file; want a directory")
	}
	if info.Mode().Perm()&0o077 != 0 {
		// Volumes are often mounted wide open; everything below is 0600 anyway, so
		// that a directory which is not ours to change is no reason to refuse.
		if err := os.Chmod(dir, 0o700); err != nil && !errors.Is(err, os.ErrPermission) {
			return nil, fault("close the data directory to others: " + reason(err))
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault("the data directory is not writable: " + reason(err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault("lock the data directory: " + err.Error())
		}
		return nil, fault("the data directory is in use by another perfgate" + holder(f) + "; stop that one or choose another directory")
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fault("the data directory is not writable: " + reason(err))
	}
	return f.Close, nil // closing unlocks; the file stays, removing it would race with the next node
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// checkDataDir tells whether [OpenDataDir] would probably work, without making
// or locking anything.
func (c *Config) checkDataDir() error {
	dir := filepath.Clean(c.Node.DataDir)
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return c.fault("node.data_dir", fmt.Sprintf("%s is a file; want a directory", dir))
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrNotExist):
			return c.fault("node.data_dir", "open the data directory: "+reason(err))
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}

// fault is a [*UsageError] about one key of c.
func (c *Config) fault(key, want string) error {
	return &UsageError{Source: c.source.of[key], Key: key, Value: show(c.source.raw[key]), Want: want}
}
