package recovery

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// turned is the state of a rotation of the pepper and of three keys: by which of two hashes each
// is found, that of before and that of after.
type turned struct {
	store.Peppers
	found [3][2]bool
}

func turnOf(t *testing.T, r *replica.Replica) turned {
	t.Helper()
	out := turned{Peppers: r.Store().Peppers()}
	for n := range out.found {
		for i, hash := range []store.Hash{replicatest.Key(n).Hash, rehashed(n)} {
			k, err := r.Store().Lookup(hash)
			if err != nil {
				t.Fatal(err)
			}
			out.found[n][i] = k != nil && k.ID == replicatest.KeyID(n)
		}
	}
	return out
}

func rehashed(n int) store.Hash { return store.Hash{0xee, byte(n)} }

func system(change store.Change) *store.Command {
	return &store.Command{At: time.Now(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"}, Change: change}
}

func move(n int) *store.Command {
	return system(&store.KeysRehash{Generation: 1, Keys: []store.Rehash{{ID: replicatest.KeyID(n), Hash: rehashed(n)}}})
}

// The power is lost after each step of a rotation of the pepper, and a backup of that moment is
// restored: keys are found as before, and the rotation goes on to its end.
func TestPepperRotationSurvives(t *testing.T) {
	t.Parallel()
	mem := replicatest.Crashable(t)
	from := replicatest.At(t, mem, "data")
	defer replicatest.Shut(t, from)
	replicatest.Begin(t, from)
	for n := range 3 {
		replicatest.Must(t, from, replicatest.CreateKey(n))
	}
	finish := system(&store.PepperFinish{Generation: 1, Counted: 1 << 40})
	steps := []*store.Command{system(&store.PepperRotate{Pepper: store.Hash{7}}), move(0), move(1), move(2), finish}
	for i, step := range steps {
		replicatest.Must(t, from, step)
		want := turnOf(t, from)
		if want.Rotating != (i < 4) || want.found[0][1] != (i > 0) || want.found[2][0] != (i < 3) {
			t.Fatalf("step %d: %+v: the test proves nothing", i, want)
		}
		raw := backupOf(t, from, time.Now().UTC())
		restored := replicatest.Memory(t)
		if err := restoreInto(restored, "data", raw, planned(t, raw, false)); err != nil {
			t.Fatal(err)
		}
		for name, fs := range map[string]vfs.FS{"power loss": mem.CrashClone(vfs.CrashCloneCfg{}), "restore": restored} {
			r := replicatest.At(t, fs, "data")
			replicatest.Eventually(t, name+": the log is applied", func() bool { return turnOf(t, r) == want })
			for _, next := range steps[i+1:] {
				replicatest.Must(t, r, next)
			}
			if p := turnOf(t, r); p.Rotating || p.Generation != 1 || p.Current != (store.Hash{7}) || p.found != [3][2]bool{{false, true}, {false, true}, {false, true}} {
				t.Errorf("step %d, %s: at the end %+v", i, name, p)
			}
			replicatest.Shut(t, r)
		}
	}
}
