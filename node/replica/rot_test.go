package replica_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
)

// A lone node of which every snapshot is damaged, and whose log begins after them, goes on
// from its state, which is whole.
func TestLoneWithoutSnapshots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := replicatest.Config(t, vfs.Default, dir)
	c.Tune = replicatest.Often
	r := replicatest.Start(t, c)
	replicatest.Begin(t, r)
	for n := range 300 {
		replicatest.Must(t, r, replicatest.CreateKey(n))
	}
	replicatest.Eventually(t, "a log without the entries of a snapshot", func() bool {
		first, err := r.Log().FirstIndex()
		return err == nil && first > 1
	})
	replicatest.Shut(t, r)
	metas, err := filepath.Glob(filepath.Join(dir, datadir.SnapshotDir, "*", "meta"))
	if err != nil || len(metas) == 0 {
		t.Fatalf("snapshots: %q, %v", metas, err)
	}
	for _, name := range metas {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw[20] ^= 1
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = replicatest.At(t, vfs.Default, dir)
	replicatest.Must(t, r, replicatest.CreateKey(300))
	replicatest.Shut(t, r)
	r = replicatest.At(t, vfs.Default, dir)
	defer replicatest.Shut(t, r)
	for _, n := range []int{0, 150, 299, 300} {
		if !replicatest.Holds(t, r, n) {
			t.Errorf("key %d is lost", n)
		}
	}
}

// A lone node that noted damage checks its data again: a read that failed once, or a part that
// was put back, does not keep it from starting.
func TestLoneChecksNotedDamageAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	replicatest.Must(t, r, replicatest.CreateKey(1))
	id := r.Identity().ID
	replicatest.Shut(t, r)
	if err := replica.WriteLine(vfs.Default, dir, datadir.DamageFile, datadir.LogDir+": file 000123.sst: checksum mismatch"); err != nil {
		t.Fatal(err)
	}
	r = replicatest.At(t, vfs.Default, dir)
	if _, err := os.Stat(filepath.Join(dir, datadir.DamageFile)); !errors.Is(err, os.ErrNotExist) || r.Identity().ID != id {
		t.Errorf("the note: %v, the node is %s, was %s", err, r.Identity().ID, id)
	}
	replicatest.Shut(t, r)
}

// A node that cannot find out whether it has others sets nothing aside, and keeps the note of
// what is damaged, for a start that can.
func TestNothingIsSetAsideUnasked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	id := r.Identity().ID
	replicatest.Shut(t, r)
	if err := replica.WriteLine(vfs.Default, dir, datadir.DamageFile, datadir.LogDir+": file 000123.sst: checksum mismatch"); err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("the node was stopped")
	c := replicatest.Config(t, vfs.Default, dir)
	c.Coordinate = replica.Lone
	c.Others = func() (bool, error) { return false, stopped }
	harm := func() {} // noted damage comes first, then damage that the start finds
	for range 2 {
		harm()
		if _, err := replica.Open(t.Context(), c); !errors.Is(err, stopped) {
			t.Errorf("the start: %v", err)
		}
		kept, err := filepath.Glob(filepath.Join(dir, datadir.AsidePrefix+"*"))
		if err != nil || len(kept) > 0 {
			t.Errorf("set aside: %q, %v", kept, err)
		}
		harm = func() {
			if _, err := os.Stat(filepath.Join(dir, datadir.DamageFile)); err != nil {
				t.Errorf("the note is gone: %v", err)
			}
			if err := errors.Join(os.Remove(filepath.Join(dir, datadir.DamageFile)), os.Rename(filepath.Join(dir, datadir.LogDir), filepath.Join(dir, "away"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, datadir.LogDir)), os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, datadir.LogDir))); err != nil {
		t.Fatal(err)
	}
	r = replicatest.At(t, vfs.Default, dir)
	defer replicatest.Shut(t, r)
	if r.Identity().ID != id {
		t.Errorf("the node is %s, was %s", r.Identity().ID, id)
	}
}

// A table of the state that was cut, or is gone, is damage: the state is set aside and made
// again from a snapshot and the log.
func TestStateWithoutATable(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(table string) error{
		"cut": func(table string) error { // not in place: snapshots share the file
			raw, err := os.ReadFile(table)
			return errors.Join(err, os.Remove(table), os.WriteFile(table, raw[:len(raw)/2], 0o600))
		},
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := replicatest.Config(t, vfs.Default, dir)
			c.Tune = replicatest.Often
			r := replicatest.Start(t, c)
			replicatest.Begin(t, r)
			for n := range 300 {
				replicatest.Must(t, r, replicatest.CreateKey(n))
			}
			if err := r.Store().Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			replicatest.Shut(t, r)
			tables, err := filepath.Glob(filepath.Join(dir, datadir.StateDir, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatalf("tables: %q, %v", tables, err)
			}
			if err := harm(tables[len(tables)-1]); err != nil {
				t.Fatal(err)
			}
			r = replicatest.At(t, vfs.Default, dir)
			defer replicatest.Shut(t, r)
			for _, n := range []int{0, 150, 299} {
				if !replicatest.Holds(t, r, n) {
					t.Errorf("key %d is lost", n)
				}
			}
			if kept, err := filepath.Glob(filepath.Join(dir, datadir.AsidePrefix+"*")); err != nil || len(kept) != 1 {
				t.Errorf("set aside: %q, %v", kept, err)
			}
		})
	}
}
