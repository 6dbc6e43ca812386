package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The rights that access(2) tests.
const (
	mayRead  = 4
	mayWrite = 2
	mayEnter = 1
)

// needed are the entries that a node reads at every start, if they are there. The
// others may belong to somebody else: lost+found of a volume, or a token that the
// operator took away from the node.
var needed = []string{
	LogDir, StateDir, SnapshotDir, LocalDir, LocalSealFile, ClusterDir, NodeIDFile, BootFile, AdminCertFile, AdminKeyFile,
	KeyringFile, EncryptionKeyFile,
}

// accessible returns an error that names the first entry of dir, or of the
// directories in it, that this process may not use. Without it a node would find
// out one by one, after it has begun to listen.
func accessible(dir string) error {
	for _, name := range needed {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // not there
				return nil
			case err == nil && e.IsDir():
				err = syscall.Access(path, mayRead|mayWrite|mayEnter)
			case err == nil && e.Type().IsRegular():
				err = syscall.Access(path, mayRead)
			}
			return denied(path, err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// denied adds to an error for want of rights the facts needed to fix it: the first
// directory on the way to path that cannot be entered, or else path itself, its owner,
// and this process's user. Other errors, and nil, stay as they are.
func denied(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	for up := path; up != filepath.Dir(up); {
		up = filepath.Dir(up)
		if errors.Is(syscall.Access(up, mayEnter), fs.ErrPermission) {
			path = up // the outermost one is the last
		}
	}
	owner := "another user"
	if info, err := os.Stat(path); err == nil {
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			owner = fmt.Sprintf("uid %d (mode %04o)", s.Uid, info.Mode().Perm())
		}
	}
	return &deniedError{
		fmt.Sprintf("%s belongs to %s, and perfgate runs as uid %d; change its owner (chown -R) or choose another directory", path, owner, os.Geteuid()),
		Reason(err),
	}
}

type deniedError struct {
	advice string
	cause  error
}

func (e *deniedError) Error() string { return e.cause.Error() + ": " + e.advice }
func (e *deniedError) Unwrap() error { return e.cause }
