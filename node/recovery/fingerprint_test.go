package recovery

import (
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// A restored cluster goes on with the fingerprint of what its backup had applied: the nodes
// that join it are compared from the first entry on.
func TestRestoreKeepsTheFingerprint(t *testing.T) {
	t.Parallel()
	from := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, from)
	populated(t, from)
	replicatest.Must(t, from, &store.Command{At: time.Now(), Change: &store.FingerprintBegin{}})
	raw := backupOf(t, from, time.Now().UTC())
	fs := replicatest.Memory(t)
	if err := restoreInto(fs, "data", raw, planned(t, raw, false)); err != nil {
		t.Fatal(err)
	}
	var last store.Fingerprint
	for start := range 2 {
		r := replicatest.At(t, fs, "data")
		got := r.Store().Fingerprint()
		if !got.Begun() || got.Index != r.Store().Applied() || start > 0 && got != last {
			t.Errorf("start %d: the fingerprint is %+v at index %d, was %+v", start, got, r.Store().Applied(), last)
		}
		replicatest.Must(t, r, replicatest.CreateKey(50+start))
		if last = r.Store().Fingerprint(); last.Sum == got.Sum {
			t.Error("an entry does not change it")
		}
		replicatest.Shut(t, r)
	}
}
