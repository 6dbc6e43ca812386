package datadir_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/datadir"
)

func open(t *testing.T, dir string) *datadir.Lock {
	t.Helper()
	l, err := datadir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := datadir.Check(dir); err != nil {
		t.Errorf("Check = %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("Check makes the data directory")
	}
	l := open(t, dir)
	if m := mode(t, dir); m != 0o700 {
		t.Errorf("the directory has mode %v", m)
	}
	if m := mode(t, filepath.Join(dir, datadir.LockFile)); m != 0o600 {
		t.Errorf("the lock file has mode %v", m)
	}
	_, err := datadir.Open(dir)
	if holder := fmt.Sprintf("another perfgate (process %d)", os.Getpid()); err == nil || !strings.Contains(err.Error(), holder) {
		t.Errorf("the second Open = %v, want %q in it", err, holder)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, datadir.LockFile)); err != nil {
		t.Errorf("Release removes the lock file: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer open(t, dir).Release()
	if m := mode(t, dir); m != 0o700 {
		t.Errorf("a directory open to others stays %v", m)
	}
}

// The kernel releases the lock of a process that was killed.
func TestLockOfAnotherProcess(t *testing.T) {
	dir := os.Getenv("DATADIR_HOLD")
	if dir != "" {
		open(t, dir)
		fmt.Println("locked")
		select {} // until it is killed
	}
	dir = t.TempDir()
	c := exec.Command(os.Args[0], "-test.run=^TestLockOfAnotherProcess$")
	c.Env = append(os.Environ(), "DATADIR_HOLD="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	if _, err := out.Read(make([]byte, 64)); err != nil { // its line: it holds the lock
		t.Fatal(err)
	}
	_, err = datadir.Acquire(dir)
	if holder := fmt.Sprintf("(process %d)", c.Process.Pid); err == nil || !strings.Contains(err.Error(), holder) {
		t.Errorf("Acquire = %v, want %q in it", err, holder)
	}
	c.Process.Kill()
	c.Wait()
	if err := open(t, dir).Release(); err != nil {
		t.Error(err)
	}
}

func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/perfgate"} {
		if l, err := datadir.Open(dir); err == nil {
			l.Release()
			t.Errorf("Open(%s) succeeds", dir)
		}
		// Check cannot foresee that the kernel refuses a directory in /proc.
		if err := datadir.Check(dir); err == nil && !strings.HasPrefix(dir, "/proc") {
			t.Errorf("Check(%s) succeeds", dir)
		}
	}
}

func TestInterruptedRestore(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, datadir.RestoringFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(dir); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("Open = %v", err)
	}
	l, err := datadir.Acquire(dir) // Open released it
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
}

func TestOccupant(t *testing.T) {
	for _, c := range []struct {
		entries []string
		want    string
	}{
		{nil, ""},
		{[]string{datadir.LockFile, datadir.OperatorTokenFile, datadir.AdminCertFile, datadir.AdminKeyFile, "lost+found"}, ""},
		{[]string{datadir.LocalSealFile, datadir.DamagedPrefix + "20260102T150405.000Z"}, ""},
		{[]string{datadir.LockFile, datadir.StateDir}, datadir.StateDir},
		{[]string{datadir.NodeIDFile}, datadir.NodeIDFile},
		{[]string{datadir.LocalDir}, datadir.LocalDir},
		{[]string{"anything"}, "anything"},
		// The remains of an interrupted restore are replaced, whatever their name.
		{[]string{datadir.NodeIDFile, datadir.RestoringFile, datadir.StateDir}, ""},
		// Its marker was being written: it left nothing else.
		{[]string{datadir.RestoringFile + datadir.TempSuffix}, ""},
	} {
		dir := t.TempDir()
		for _, name := range c.entries {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := datadir.Occupant(dir); got != c.want || err != nil {
			t.Errorf("Occupant of %q = %q, %v; want %q", c.entries, got, err, c.want)
		}
	}
	if _, err := datadir.Occupant(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Occupant of no directory: %v", err)
	}
}
