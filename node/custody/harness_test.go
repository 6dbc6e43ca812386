package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/store/keyring"
	"github.com/perfgate/perfgate/store/losstest"
	"github.com/perfgate/perfgate/store/pack"
)

const dataDir = "data"

var silent = slog.New(slog.DiscardHandler)

func settings() *config.Config { return &config.Config{Node: config.Node{DataDir: dataDir}} }

// newDisk is a file system in memory with an empty data directory.
func newDisk(t testing.TB) *losstest.Mem {
	t.Helper()
	mem := losstest.NewMem()
	if err := mem.MkdirAll(dataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := pack.SyncDir(mem, "/"); err != nil {
		t.Fatal(err)
	}
	return mem
}

// start opens the vault, converts, and returns the encrypted files.
func start(fsys vfs.FS, c *config.Config) (*Vault, vfs.FS, error) {
	v, err := Open(context.Background(), fsys, c, silent)
	if err != nil {
		return nil, nil, err
	}
	if err := v.Convert(context.Background()); err != nil {
		return nil, nil, err
	}
	return v, v.Attach(fsys), nil
}

func mustStart(t testing.TB, fsys vfs.FS, c *config.Config) (*Vault, vfs.FS) {
	t.Helper()
	v, files, err := start(fsys, c)
	if err != nil {
		t.Fatal(err)
	}
	return v, files
}

func openDB(t testing.TB, fsys vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open(dataDir+"/state", &pebble.Options{FS: fsys, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

const rows = 200

// fill writes rows, half of them into tables, and some files beside the database.
func fill(t testing.TB, fsys vfs.FS) {
	t.Helper()
	if err := errors.Join(fsys.MkdirAll(dataDir+"/state", 0o700), fsys.MkdirAll(dataDir+"/cluster", 0o700), pack.SyncDir(fsys, dataDir)); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, fsys)
	for i := range rows {
		if err := db.Set(fmt.Appendf(nil, "row%03d", i), bytes.Repeat([]byte("secret"), 100), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if i == rows/2 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(db.LogData(nil, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pack.WriteFile(fsys, dataDir+"/cluster/node.pem", []byte("secret key")), pack.WriteFile(fsys, dataDir+"/local.seal", []byte("secret seal"))); err != nil {
		t.Fatal(err)
	}
}

// check reads all that fill wrote.
func check(t testing.TB, files vfs.FS) {
	t.Helper()
	db := openDB(t, files)
	defer db.Close()
	for i := range rows {
		v, closer, err := db.Get(fmt.Appendf(nil, "row%03d", i))
		if err != nil || !bytes.Equal(v, bytes.Repeat([]byte("secret"), 100)) {
			t.Fatalf("row %d: %v", i, err)
		}
		closer.Close()
	}
	for name, want := range map[string]string{"/cluster/node.pem": "secret key", "/local.seal": "secret seal"} {
		if got, err := readFile(files, dataDir+name); err != nil || string(got) != want {
			t.Fatalf("%s: %q, %v", name, got, err)
		}
	}
}

func readFile(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	return raw, errors.Join(err, f.Close())
}

// onlyEncrypted fails if a file that should be encrypted is readable.
func onlyEncrypted(t testing.TB, v *Vault) {
	t.Helper()
	n := 0
	if err := v.walk(func(f file) error {
		n++
		if raw, err := readFile(v.fs, f.name); err != nil || !f.encrypted || bytes.Contains(raw, []byte("secret")) {
			t.Errorf("%s: encrypted %v, %v", f.name, f.encrypted, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n < 5 {
		t.Errorf("only %d files", n)
	}
}

// clone is a disk with the same files, all durable.
func clone(t testing.TB, mem *losstest.Mem) *losstest.Mem {
	t.Helper()
	return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

func newKey(t testing.TB) (keyring.Key, string) {
	t.Helper()
	k := keyring.NewKey()
	return k, k.Text()
}
