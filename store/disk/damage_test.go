package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/losstest"
)

// written is the file system of a database with n synced rows in its log, each of
// size bytes, cut off from the process that wrote it.
func written(t *testing.T, n, size int) *losstest.Mem {
	t.Helper()
	mem := losstest.NewMem()
	db, err := Open("db", &pebble.Options{FS: mem, Logger: NewGuard(GuardConfig{}), FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := db.Set(fmt.Appendf(nil, "%05d", i), make([]byte, size), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	after := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return after
}

// the log in which the rows are.
func largestLog(t *testing.T, fs vfs.FS) (name string, size int64) {
	t.Helper()
	names, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		info, err := fs.Stat(path.Join("db", n))
		if err != nil {
			t.Fatal(err)
		}
		if path.Ext(n) == ".log" && info.Size() > size {
			name, size = path.Join("db", n), info.Size()
		}
	}
	return name, size
}

func change(t *testing.T, fs vfs.FS, name string, at int64, bits byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= bits
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Damage before the last synced record is found, within a block and over blocks;
// in the last record it looks like a crash, as it may be.
func TestCheckLogs(t *testing.T) {
	for _, c := range []struct{ rows, size int }{{30, 20}, {30, 3000}, {60, 9000}} {
		_, whole := largestLog(t, written(t, c.rows, c.size))
		record := whole / int64(c.rows)
		for _, at := range []int64{0, 4, 7, 12, record, whole / 2, whole * 3 / 5} {
			fs := written(t, c.rows, c.size)
			name, _ := largestLog(t, fs)
			if err := CheckLogs(fs, "db"); err != nil {
				t.Fatalf("%v: whole: %v", c, err)
			}
			change(t, fs, name, at, 1<<(at%8))
			if err := CheckLogs(fs, "db"); !errors.Is(err, ErrDamaged) || !Damaged(err) {
				t.Errorf("%v: damage at %d of %d: %v", c, at, whole, err)
			}
		}
		fs := written(t, c.rows, c.size)
		name, _ := largestLog(t, fs)
		change(t, fs, name, whole-1, 1)
		if err := CheckLogs(fs, "db"); err != nil {
			t.Errorf("%v: damage in the last byte: %v", c, err)
		}
	}
	if err := CheckLogs(vfs.NewMem(), "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// A power loss that keeps any part of the unsynced data is no damage.
func TestCheckLogsAfterPowerLoss(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		mem := losstest.NewMem()
		o := &pebble.Options{FS: mem, Logger: NewGuard(GuardConfig{}), FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 10}
		db, err := Open("db", o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 40 + rng.IntN(40) {
			sync := pebble.NoSync
			if rng.IntN(8) == 0 {
				sync = pebble.Sync
			}
			if err := db.Set(fmt.Appendf(nil, "%05d", i), make([]byte, rng.IntN(9000)), sync); err != nil {
				t.Fatal(err)
			}
		}
		after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := CheckLogs(after, "db"); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// A manifest is damaged if another record follows; its last one may be torn.
func TestCheckManifest(t *testing.T) {
	fs := vfs.NewMem()
	db, err := Open("db", &pebble.Options{FS: fs, Logger: NewGuard(GuardConfig{}), FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := errors.Join(db.Set([]byte{byte(i)}, nil, pebble.Sync), db.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	name := path.Join("db", currentManifest(names))
	info, err := fs.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at      int64
		damaged bool
	}{{0, true}, {6, true}, {info.Size() / 2, true}, {info.Size() - 1, false}} {
		change(t, fs, name, c.at, 16)
		if err := CheckLogs(fs, "db"); (err != nil) != c.damaged {
			t.Errorf("at %d of %d: %v", c.at, info.Size(), err)
		}
		change(t, fs, name, c.at, 16)
	}
}

// A database of which a table was cut or removed is damaged.
func TestTableLost(t *testing.T) {
	for name, harm := range map[string]func(vfs.FS, string) error{
		"cut": func(fs vfs.FS, table string) error {
			f, err := fs.Create(table, vfs.WriteCategoryUnspecified)
			if err != nil {
				return err
			}
			_, err = f.Write([]byte("half of it"))
			return errors.Join(err, f.Close())
		},
		"gone": func(fs vfs.FS, table string) error { return fs.Remove(table) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			o := &pebble.Options{FS: fs, Logger: NewGuard(GuardConfig{}), FormatMajorVersion: pebble.FormatNewest}
			db, err := Open("db", o)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Set([]byte("key"), []byte("value"), pebble.Sync), db.Flush()); err != nil {
				t.Fatal(err)
			}
			levels, err := db.SSTables()
			if err = errors.Join(err, db.Close()); err != nil || len(levels[0]) != 1 {
				t.Fatal(levels, err)
			}
			if err := harm(fs, fmt.Sprintf("db/%06d.sst", uint64(levels[0][0].FileNum))); err != nil {
				t.Fatal(err)
			}
			if db, err := Open("db", o); !Damaged(err) {
				t.Errorf("%v, %v", db, err)
			}
		})
	}
}

func TestCheckTable(t *testing.T) {
	fs := vfs.NewMem()
	db, err := Open("db", &pebble.Options{FS: fs, Logger: NewGuard(GuardConfig{}), FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := errors.Join(db.Set([]byte("key"), make([]byte, 5000), pebble.Sync), db.Flush()); err != nil {
		t.Fatal(err)
	}
	levels, err := db.SSTables()
	if err != nil || len(levels[0]) != 1 {
		t.Fatal(levels, err)
	}
	name := fmt.Sprintf("db/%06d.sst", uint64(levels[0][0].FileNum))
	if err := CheckTable(fs, name, nil); err != nil {
		t.Errorf("whole: %v", err)
	}
	for _, at := range []int64{0, 30, int64(levels[0][0].Size) - 1} {
		change(t, fs, name, at, 2)
		if err := CheckTable(fs, name, nil); !Damaged(err) {
			t.Errorf("at %d: %v", at, err)
		}
		change(t, fs, name, at, 2)
	}
	if err := CheckTable(fs, "db/none.sst", nil); !errors.Is(err, os.ErrNotExist) || Damaged(err) {
		t.Errorf("no file: %v", err)
	}
}
