package replica_test

import (
	"cmp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// BenchmarkShareOfFingerprint makes whole writes, durable and answered, with two replicas in turn,
// of which one keeps a fingerprint of what it applies, and reports how many writes with it there
// are for one without. Each turn has 64 writes in flight, and every other one begins with the
// other replica. The result is the median of the pairs of turns, so that neither other programs
// nor compactions count; that of processor time depends on neither load nor disk. The control
// has two replicas without a fingerprint: what differs from 1 there is the measurement's error.
func BenchmarkShareOfFingerprint(b *testing.B) {
	b.Run("control", func(b *testing.B) { inTurn(b, replicatest.New(b), replicatest.New(b)) })
	b.Run("fingerprint", func(b *testing.B) {
		without, with := replicatest.New(b), replicatest.New(b)
		replicatest.Must(b, with, &store.Command{At: time.Now(), Change: &store.FingerprintBegin{}})
		if without.Store().Fingerprint().Begun() || !with.Store().Fingerprint().Begun() {
			b.Fatal("BUG: one replica of the two is to keep a fingerprint")
		}
		inTurn(b, without, with)
	})
}

func inTurn(b *testing.B, without, with *replica.Replica) {
	const inFlight, each = 64, 4
	states := [2]*replica.Replica{without, with}
	var took, worked []float64 // of one without to one with
	var last []time.Duration   // of those with
	for n := range max(b.N, 20) {
		var wall, cpu [2]time.Duration
		for turn := range 2 {
			i := (n + turn) % 2
			from, before := time.Now(), processorTime(b)
			var wg sync.WaitGroup
			for w := range inFlight {
				wg.Go(func() {
					for j := range each {
						if _, err := states[i].Propose(b.Context(), replicatest.CreateKey((n*inFlight+w)*each+j)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			wall[i], cpu[i] = time.Since(from), processorTime(b)-before
		}
		took = append(took, float64(wall[0])/float64(wall[1]))
		worked = append(worked, float64(cpu[0])/float64(cpu[1]))
		last = append(last, wall[1])
	}
	b.ReportMetric(middle(took), "with/without")
	b.ReportMetric(middle(worked), "processor-with/without")
	b.ReportMetric(inFlight*each/middle(last).Seconds(), "writes/s")
}

// middle is the median.
func middle[T cmp.Ordered](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

// processorTime is what this process has used of the processors so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
