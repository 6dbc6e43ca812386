package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestIdentity(t *testing.T) {
	fs := vfs.NewCrashableMem()
	if err := errors.Join(fs.MkdirAll("data", 0o700), syncAll(fs, "")); err != nil {
		t.Fatal(err)
	}
	first, err := OpenIdentity(fs, "data")
	if err != nil || !idForm.MatchString(first.ID) || first.Boot != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	// The count is durable before the identity is used.
	for boot := uint64(2); boot < 5; boot++ {
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		again, err := OpenIdentity(fs, "data")
		if err != nil || again.ID != first.ID || again.Boot != boot {
			t.Fatalf("after a power loss: %+v, %v; want %s, boot %d", again, err, first.ID, boot)
		}
	}
	other := vfs.NewMem()
	if err := other.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	if id, err := OpenIdentity(other, "data"); err != nil || id.ID == first.ID {
		t.Errorf("two directories have the same id, %v", err)
	}
	for _, c := range [][2]string{{bootFile, "-1"}, {idFile, "nonsense"}} {
		file, text := c[0], c[1]
		if err := writeFile(other, "data", file, text); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIdentity(other, "data"); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s holding %q: %v", file, text, err)
		}
	}
}
