package nodetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/custody"
	"github.com/perfgate/perfgate/node/datadir"
)

// mortal is the disk of a node whose process can be killed before any of its changes. What the
// disk holds at that moment is copied; the node in the process of the test goes on for a
// moment, cut off from the others, before it is taken apart.
type mortal struct {
	vfs.FS
	t      *testing.T
	dir    func() string // of the node
	killed func()        // called when the moment has come

	mu    sync.RWMutex // held for writing while the disk is copied
	steps atomic.Int64 // since arm
	last  atomic.Int64 // the step at which the process is killed; 0 is none
	ended atomic.Bool
}

// arm counts steps from now on, and kills the process at the step last; 0 is never.
func (m *mortal) arm(last int64) {
	m.ended.Store(false)
	m.steps.Store(0)
	m.last.Store(last)
}

// step comes before a change, and ends after it.
func (m *mortal) step() (end func()) {
	if step := m.steps.Add(1); step == m.last.Load() {
		m.mu.Lock()
		if err := copyTree(m.dir(), m.dir()+".killed"); err != nil {
			m.t.Errorf("copy the disk of a node that is killed: %v", err)
		}
		m.mu.Unlock()
		m.killed()
		m.ended.Store(true)
	}
	m.mu.RLock()
	return m.mu.RUnlock
}

// copyTree copies a data directory, without the space that it keeps for a full disk.
func copyTree(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case rel == "ballast":
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), raw, 0o600)
	})
}

// replace puts the disk back that the killed process left.
func (m *mortal) replace() error {
	return errors.Join(os.RemoveAll(m.dir()), os.Rename(m.dir()+".killed", m.dir()))
}

func (m *mortal) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer m.step()()
	f, err := m.FS.Create(name, c)
	return m.file(f, err)
}

func (m *mortal) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	defer m.step()()
	f, err := m.FS.OpenReadWrite(name, c, o...)
	return m.file(f, err)
}

func (m *mortal) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer m.step()()
	f, err := m.FS.ReuseForWrite(from, to, c)
	return m.file(f, err)
}

func (m *mortal) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &mortalFile{f, m}, nil
}

func (m *mortal) Link(from, to string) error {
	defer m.step()()
	return m.FS.Link(from, to)
}

func (m *mortal) Rename(from, to string) error {
	defer m.step()()
	return m.FS.Rename(from, to)
}

func (m *mortal) Remove(name string) error {
	defer m.step()()
	return m.FS.Remove(name)
}

func (m *mortal) RemoveAll(name string) error {
	defer m.step()()
	return m.FS.RemoveAll(name)
}

type mortalFile struct {
	vfs.File
	m *mortal
}

func (f *mortalFile) Write(p []byte) (int, error) {
	defer f.m.step()()
	return f.File.Write(p)
}

func (f *mortalFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.m.step()()
	return f.File.WriteAt(p, off)
}

// opened is what reads the encrypted files below dir, whether their node runs or not.
func opened(t *testing.T, dir string) vfs.FS {
	t.Helper()
	v, err := custody.Open(context.Background(), vfs.Default, &config.Config{Node: config.Node{DataDir: dir}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return v.Attach(vfs.Default)
}

// holding lists the files of a node that hold one of some texts, decrypted. Tables are
// compressed, but a text of random characters is in them as it is.
func holding(t *testing.T, dir string, texts ...string) (found []string) {
	t.Helper()
	files := opened(t, dir)
	seen := 0
	for _, part := range []string{datadir.LogDir, datadir.StateDir, datadir.SnapshotDir, datadir.LocalDir} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return nil // a node that runs removes files
			}
			f, err := files.Open(path)
			if err != nil {
				return nil
			}
			raw, _ := io.ReadAll(f) // the end of a file that is being written
			f.Close()
			seen += len(raw)
			if slices.ContainsFunc(texts, func(s string) bool { return bytes.Contains(raw, []byte(s)) }) {
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen == 0 {
		t.Fatalf("nothing in %s could be read: the test proves nothing", dir)
	}
	return found
}
