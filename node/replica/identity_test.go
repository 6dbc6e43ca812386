package replica_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
)

func TestIdentity(t *testing.T) {
	fs := vfs.NewCrashableMem()
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
	for _, c := range [][2]string{{datadir.BootFile, "-1"}, {datadir.NodeIDFile, "nonsense"}} {
		file, text := c[0], c[1]
		if err := replica.WriteLine(other, "data", file, text); err != nil {
			t.Fatal(err)
		}
		if _, err := replica.OpenIdentity(other, "data"); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s holding %q: %v", file, text, err)
		}
	}
}
