package custody

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/store/losstest"
	"github.com/perfgate/perfgate/store/pack"
)

// The first start makes a key file that only its owner may read, warns at each start, and
// everything written afterwards is encrypted.
func TestFirstStart(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{Node: config.Node{DataDir: dir}}
	for n := range 3 {
		var log strings.Builder
		v, err := Open(t.Context(), vfs.Default, c, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "beside the data, which protects little") {
			t.Errorf("start %d does not warn: %s", n, &log)
		}
		if n == 0 {
			fs := v.Attach(vfs.Default)
			if err := pack.WriteFile(fs, filepath.Join(dir, "local.seal"), []byte("content")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"encryption.key", "keyring"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "local.seal"))
	if err != nil || strings.Contains(string(raw), "content") {
		t.Errorf("%q, %v", raw, err)
	}
}

// A key that is wrong, missing, short or given twice ends the start with one sentence
// about its setting, and changes no file.
func TestRefusedKeys(t *testing.T) {
	disk := newDisk(t)
	_, text := newKey(t)
	c := settings()
	c.Encryption.Key = text
	_, files := mustStart(t, disk, c)
	fill(t, files)
	_, other := newKey(t)
	if err := pack.WriteFile(disk, "other.key", []byte(other)); err != nil {
		t.Fatal(err)
	}
	if err := pack.WriteFile(disk, "short.key", []byte(other[:40])); err != nil {
		t.Fatal(err)
	}
	before := disk.String()
	for name, e := range map[string]struct {
		config.Encryption
		says string
	}{
		"wrong":           {config.Encryption{Key: other}, "does not open the keyring"},
		"wrong file":      {config.Encryption{KeyFile: "other.key"}, "does not open the keyring"},
		"none":            {config.Encryption{}, `data/encryption.key: it does not exist, and the data directory is encrypted`},
		"missing file":    {config.Encryption{KeyFile: "absent.key"}, "it does not exist, and the data directory is encrypted"},
		"short":           {config.Encryption{Key: text[:60]}, "has 30 bytes; must be 32 bytes"},
		"short file":      {config.Encryption{KeyFile: "short.key"}, "has 20 bytes; must be 32 bytes"},
		"no key":          {config.Encryption{Key: "!"}, "neither hexadecimal nor base64"},
		"twice":           {config.Encryption{Key: text, KeyFile: "other.key"}, "more than once"},
		"short command":   {config.Encryption{KeyCommand: "echo abcd"}, "has 2 bytes; must be 32 bytes"},
		"wrong command":   {config.Encryption{KeyCommand: "echo " + other}, "does not open the keyring"},
		"previous broken": {config.Encryption{Key: other, PreviousKey: "x"}, "must be 32 bytes"},
	} {
		c := settings()
		c.Encryption = e.Encryption
		_, err := Open(t.Context(), disk, c, silent)
		var usage *config.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), e.says) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "= \""+other) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.Encryption = config.Encryption{KeyCommand: "echo vault is sealed >&2; exit 3"}
	_, err := Open(t.Context(), disk, c, silent)
	var usage *config.UsageError
	if err == nil || errors.As(err, &usage) || !strings.Contains(err.Error(), "exit status 3: vault is sealed") {
		t.Errorf("a failed command: %v", err)
	}
	if after := disk.String(); after != before {
		t.Errorf("files were changed:\n%s\n%s", before, after)
	}
	c.Encryption = config.Encryption{KeyCommand: "echo " + text}
	_, files = mustStart(t, disk, c)
	check(t, files)
}

// A configured key file that is not there is no reason to make one: a volume may be
// missing.
func TestConfiguredFileIsNotMade(t *testing.T) {
	disk, c := newDisk(t), settings()
	c.Encryption.KeyFile = "mounted/key"
	var usage *config.UsageError
	if _, err := Open(t.Context(), disk, c, silent); !errors.As(err, &usage) || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("%v", err)
	}
	if names, err := disk.List(dataDir); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
}

// A directory whose keyring is gone is refused, not taken for a plain or new one.
func TestKeyringMissing(t *testing.T) {
	disk := newDisk(t)
	_, files := mustStart(t, disk, settings())
	fill(t, files)
	if err := disk.Remove(dataDir + "/keyring"); err != nil {
		t.Fatal(err)
	}
	before := disk.String()
	if _, err := Open(t.Context(), disk, settings(), silent); err == nil || !strings.Contains(err.Error(), "keyring") || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("%v", err)
	}
	if disk.String() != before {
		t.Error("files were changed")
	}
}

// The power is lost at every step of a first start with a plain directory: the next
// starts convert the rest, no row is lost, and nothing stays readable.
func TestConversionAndPowerLoss(t *testing.T) {
	plain := newDisk(t)
	fill(t, plain)
	losstest.EveryStep(t, func() *losstest.Mem { return clone(t, plain) },
		func(fsys vfs.FS) { mustStart(t, fsys, settings()) },
		func(step int, left *losstest.Mem) {
			v, files, err := start(left, settings())
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			check(t, files)
			onlyEncrypted(t, v)
			if names, _ := left.List(dataDir + "/state"); strings.Contains(strings.Join(names, " "), convertSuffix) {
				t.Errorf("step %d: %v", step, names)
			}
		})
}

// After the conversion a plain file is refused: nobody can put one there instead.
func TestPlainFileAfterwards(t *testing.T) {
	disk := newDisk(t)
	_, files := mustStart(t, disk, settings())
	fill(t, files)
	if err := pack.WriteFile(disk, dataDir+"/cluster/node.pem", []byte("another key")); err != nil {
		t.Fatal(err)
	}
	_, files = mustStart(t, disk, settings())
	if _, err := readFile(files, dataDir+"/cluster/node.pem"); !pebble.IsCorruptionError(err) {
		t.Errorf("a plain file is served: %v", err)
	}
}

// On the disk, tables that a checkpoint shares with the database stay shared, and files
// of other kinds stay as they are.
func TestConversionOnDisk(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{Node: config.Node{DataDir: dir}}
	write := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("content of "+name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	encrypted := []string{"state/000001.sst", "raftlog/000002.log", "snapshots/1/meta", "cluster/node.pem", "local.seal", "local.damaged-1/x", "state.checkpoint/y"}
	plain := []string{"operator.token", "admin.key", "node-id", "boot", "FOUNDING", "backups/a.backup", "notes.txt", "state/LOCK"}
	for _, name := range append(plain, encrypted...) {
		write(name)
	}
	if err := os.Link(filepath.Join(dir, "state/000001.sst"), filepath.Join(dir, "snapshots/1/000001.sst")); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), vfs.Default, c, silent)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Convert(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := v.Attach(vfs.Default)
	for _, name := range encrypted {
		if got, err := readFile(files, filepath.Join(dir, name)); err != nil || string(got) != "content of "+name {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || strings.Contains(string(raw), "content") {
			t.Errorf("%s is plain, %v", name, err)
		}
	}
	for _, name := range plain {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(raw) != "content of "+name {
			t.Errorf("%s was changed: %q, %v", name, raw, err)
		}
	}
	a, err1 := os.Stat(filepath.Join(dir, "state/000001.sst"))
	b, err2 := os.Stat(filepath.Join(dir, "snapshots/1/000001.sst"))
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(a, b) {
		t.Errorf("a shared table takes space twice, %v", err)
	}
}

func TestConversionStops(t *testing.T) {
	disk := newDisk(t)
	fill(t, disk)
	v, err := Open(t.Context(), disk, settings(), silent)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Convert(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the next start goes on") {
		t.Errorf("%v", err)
	}
	_, files := mustStart(t, disk, settings())
	check(t, files)
}
