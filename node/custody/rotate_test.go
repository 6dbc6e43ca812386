package custody

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/losstest"
	"github.com/perfgate/perfgate/store/pack"
)

// The power is lost at every step of replacing the key file: the next start opens the
// directory with one of the two keys and finishes the step.
func TestRotateKeyFileAndPowerLoss(t *testing.T) {
	disk := newDisk(t)
	_, files := mustStart(t, disk, settings())
	fill(t, files)
	losstest.EveryStep(t, func() *losstest.Mem { return clone(t, disk) },
		func(fsys vfs.FS) {
			v, _ := mustStart(t, fsys, settings())
			old := v.ring.KEK()
			id, err := v.RotateKEK(t.Context())
			if err != nil || id == old || v.ring.KEK() != id {
				t.Fatalf("%s, %s: %v", old, id, err)
			}
		},
		func(step int, left *losstest.Mem) {
			v, files, err := start(left, settings())
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			check(t, files)
			if _, err := v.RotateKEK(t.Context()); err != nil {
				t.Fatalf("step %d: again: %v", step, err)
			}
			mustStart(t, left, settings())
		})
}

// A key that the operator replaces is taken by the rotation, or by a start with both.
func TestRotateForeignKey(t *testing.T) {
	disk := newDisk(t)
	k1, t1 := newKey(t)
	k2, t2 := newKey(t)
	c := settings()
	c.Encryption.Key = t1
	v, files := mustStart(t, disk, c)
	fill(t, files)
	if _, err := v.RotateKEK(t.Context()); !errors.Is(err, ErrSameKey) || !strings.Contains(err.Error(), config.PreviousKeyEnv) {
		t.Errorf("%v", err)
	}
	c = settings()
	c.Encryption.Key, c.Encryption.PreviousKey = t2, t1
	v, files = mustStart(t, disk, c)
	if v.ring.KEK() != k2.ID() || k1.ID() == k2.ID() {
		t.Error("the start with both keys did not wrap the keyring with the new one")
	}
	check(t, files)
	c = settings()
	c.Encryption.KeyCommand = "echo " + t2
	v, _ = mustStart(t, disk, c)
	if _, err := v.RotateKEK(t.Context()); !errors.Is(err, ErrSameKey) || !strings.Contains(err.Error(), "key_command") {
		t.Errorf("%v", err)
	}
	v.source.cfg.Encryption.KeyCommand = "echo " + t1 // the command gives another key by now
	if id, err := v.RotateKEK(t.Context()); err != nil || id != k1.ID() {
		t.Errorf("%s, %v", id, err)
	}
}

// The power is lost at every step of rotating the data key while the database is closed:
// the next start goes on, no row is lost, and in the end one key is left.
func TestRotateDataAndPowerLoss(t *testing.T) {
	disk := newDisk(t)
	_, files := mustStart(t, disk, settings())
	fill(t, files)
	losstest.EveryStep(t, func() *losstest.Mem { return clone(t, disk) },
		func(fsys vfs.FS) {
			v, _ := mustStart(t, fsys, settings())
			if err := errors.Join(v.RotateData(), v.Run(t.Context())); err != nil {
				t.Fatal(err)
			}
			if v.Rotating() {
				t.Fatal("the old key is still there")
			}
		},
		func(step int, left *losstest.Mem) {
			v, files, err := start(left, settings())
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if err := v.Run(t.Context()); err != nil {
				t.Fatalf("step %d: going on: %v", step, err)
			}
			s, err := v.Status()
			if err != nil || len(s.DataKeys) != 1 || s.DataKeys[0].Files < 5 || s.Rotation.Running {
				t.Fatalf("step %d: %+v, %v", step, s, err)
			}
			check(t, files)
		})
}

// With the database open, what it still writes keeps the old key, which stays in the
// ring until the next start has replaced it.
func TestRotateDataOnline(t *testing.T) {
	disk := newDisk(t)
	v, files := mustStart(t, disk, settings())
	fill(t, files)
	db := openDB(t, files)
	rolled := false
	v.OnRotate(func() error { rolled = true; return db.Flush() })
	if err := v.Run(t.Context()); err != nil || rolled {
		t.Errorf("without a rotation: rolled %v, %v", rolled, err)
	}
	if err := v.RotateData(); err != nil {
		t.Fatal(err)
	}
	if s, err := v.Status(); err != nil || len(s.DataKeys) != 2 || s.DataKeys[0].Files == 0 || s.DataKeys[1].Files != 0 || !s.DataKeys[1].Current {
		t.Errorf("%+v, %v", s, err)
	}
	if err := v.Run(t.Context()); err != nil || !rolled {
		t.Fatal(rolled, err)
	}
	s, err := v.Status()
	if err != nil || len(s.DataKeys) != 2 || s.DataKeys[0].Files != 1 || s.Rotation.Done != s.Rotation.Total || s.Rotation.Total == 0 || s.Rotation.Ended.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	if s.Source != FromFile || !s.Beside || s.KEK == "" {
		t.Errorf("%+v", s)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	v, files = mustStart(t, disk, settings())
	check(t, files) // a new manifest
	if err := v.Run(t.Context()); err != nil || v.Rotating() {
		t.Errorf("rotating %v, %v", v.Rotating(), err)
	}
	check(t, files)
}

func TestOneRotationAtATime(t *testing.T) {
	v, _ := mustStart(t, newDisk(t), settings())
	if !v.begin() {
		t.Fatal("busy")
	}
	_, err := v.RotateKEK(t.Context())
	if err2 := v.RotateData(); !errors.Is(err, ErrBusy) || !errors.Is(err2, ErrBusy) {
		t.Errorf("%v, %v", err, err2)
	}
	v.end()
	if err := v.RotateData(); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	v.OnRotate(func() error { return broken })
	if err := v.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if s, err := v.Status(); err != nil || s.Rotation.Running || !strings.Contains(s.Rotation.Error, "broken") {
		t.Errorf("%+v, %v", s, err)
	}
}

// A snapshot that was set aside because it is damaged does not hold up a rotation: its files
// end with the old key.
func TestRotateDataPastADamagedSnapshot(t *testing.T) {
	mem := newDisk(t)
	v, files := mustStart(t, mem, settings())
	name := dataDir + "/snapshots/0001-1-1" + datadir.AsideSuffix + "/checkpoint/000001.sst"
	if err := errors.Join(files.MkdirAll(mem.PathDir(name), 0o700), pack.WriteFile(files, name, make([]byte, 20000))); err != nil {
		t.Fatal(err)
	}
	f, err := mem.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var octet [1]byte
	if _, err := f.ReadAt(octet[:], 9000); err != nil {
		t.Fatal(err)
	}
	octet[0] ^= 1
	if _, err := f.WriteAt(octet[:], 9000); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), v.RotateData(), v.Run(t.Context())); err != nil || v.Rotating() || len(v.ring.Keys()) != 1 {
		t.Errorf("%v; rotating is %v, %d keys", err, v.Rotating(), len(v.ring.Keys()))
	}
}
