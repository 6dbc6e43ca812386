package replica_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store/losstest"
)

func TestIdentity(t *testing.T) {
	fs := losstest.NewMem()
	if err := errors.Join(fs.MkdirAll("data", 0o700), replicatest.SyncAll(fs, "")); err != nil {
		t.Fatal(err)
	}
	first, err := replica.OpenIdentity(fs, "data")
	if err != nil || len(first.ID) != 32 || first.Boot != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	// The count is durable before the identity is used.
	for boot := uint64(2); boot < 5; boot++ {
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		again, err := replica.OpenIdentity(fs, "data")
		if err != nil || again.ID != first.ID || again.Boot != boot {
			t.Fatalf("after a power loss: %+v, %v; want %s, boot %d", again, err, first.ID, boot)
		}
	}
	other := vfs.NewMem()
	if err := other.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	if id, err := replica.OpenIdentity(other, "data"); err != nil || id.ID == first.ID {
		t.Errorf("two directories have the same id, %v", err)
	}
	for _, c := range [][2]string{
		{datadir.BootFile, "-1"}, {datadir.BootFile, ""}, {datadir.BootFile, "18446744073709551616"},
		{datadir.NodeIDFile, "nonsense"}, {datadir.NodeIDFile, first.ID[1:]}, {datadir.NodeIDFile, first.ID + "0"}, {datadir.NodeIDFile, strings.ToUpper("a" + first.ID[1:])},
	} {
		file, text := c[0], c[1]
		if err := replica.WriteLine(other, "data", file, text); err != nil {
			t.Fatal(err)
		}
		if _, err := replica.OpenIdentity(other, "data"); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "the data directory is damaged") {
			t.Errorf("%s holding %q: %v", file, text, err)
		}
		if err := other.Remove(other.PathJoin("data", file)); err != nil {
			t.Fatal(err)
		}
	}
}

// An identity that cannot be read or counted durably is not used.
func TestIdentityOnAFailingDisk(t *testing.T) {
	for name, tt := range map[string]struct {
		first bool // the start
		kind  errorfs.OpKind
		file  string
		want  string
	}{
		"write the id":      {true, errorfs.OpFileSync, datadir.NodeIDFile, "write node id: "},
		"read the id":       {false, errorfs.OpOpen, datadir.NodeIDFile, "read node id: "},
		"read the counter":  {false, errorfs.OpOpen, datadir.BootFile, "read boot counter: "},
		"write the counter": {false, errorfs.OpFileSync, datadir.BootFile, "count this start: "},
		"the first start":   {true, errorfs.OpFileSync, datadir.BootFile, "count this start: "},
	} {
		mem := replicatest.Memory(t)
		if !tt.first {
			if _, err := replica.OpenIdentity(mem, "data"); err != nil {
				t.Fatal(err)
			}
		}
		failing := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == tt.kind && strings.Contains(op.Path, tt.file) {
				return errorfs.ErrInjected
			}
			return nil
		}))
		if id, err := replica.OpenIdentity(failing, "data"); !errors.Is(err, errorfs.ErrInjected) || !strings.HasPrefix(err.Error(), tt.want) || id != (replica.Identity{}) {
			t.Errorf("%s: %+v, %v; want %q", name, id, err, tt.want)
		}
		if _, err := replica.OpenIdentity(mem, "data"); err != nil {
			t.Errorf("%s, on a good disk again: %v", name, err)
		}
	}
}

// The first process of a node notes its identity in the log before anything else: killed a
// moment later, the node is still the same one when a file of its identity is damaged.
func TestFirstProcessNotesIdentity(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"another id": strings.Repeat("0a", 16) + "\n", "no id": "\x00\xff"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := replicatest.At(t, vfs.Default, dir)
			id := r.Identity()
			r.Abandon()
			replicatest.Shut(t, r)
			if err := os.WriteFile(filepath.Join(dir, datadir.NodeIDFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, datadir.BootFile)); err != nil {
				t.Fatal(err)
			}
			r = replicatest.At(t, vfs.Default, dir)
			defer replicatest.Shut(t, r)
			if got, want := r.Identity(), (replica.Identity{ID: id.ID, Boot: id.Boot + 1}); got != want {
				t.Errorf("the node is %v, want %v", got, want)
			}
		})
	}
}
