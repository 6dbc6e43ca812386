package replica_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/replica/replicatest"
)

// A mark is there after a restart, and Raft's own values are untouched by it.
func TestMarks(t *testing.T) {
	dir := t.TempDir()
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	if name, err := r.Marks().LocalName(); name != "" || err != nil {
		t.Errorf("a new node has %q, %v", name, err)
	}
	for _, name := range []string{"first", "second"} {
		if err := r.Marks().SetLocalName(name); err != nil {
			t.Fatal(err)
		}
	}
	replicatest.Shut(t, r)
	r = replicatest.At(t, vfs.Default, dir)
	defer replicatest.Shut(t, r)
	if name, err := r.Marks().LocalName(); name != "second" || err != nil {
		t.Errorf("after a restart: %q, %v", name, err)
	}
	if r.Store().ClusterID() != "c1" {
		t.Error("the state is gone")
	}
}
