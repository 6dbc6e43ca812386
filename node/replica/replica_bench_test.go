package replica_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// BenchmarkPropose measures durable writes through Raft on a real disk.
func BenchmarkPropose(b *testing.B) {
	for _, inFlight := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) {
			r := replicatest.New(b)
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range inFlight {
				wg.Go(func() {
					for {
						i := n.Add(1)
						if i > int64(b.N) {
							return
						}
						if _, err := r.Propose(b.Context(), replicatest.CreateKey(int(i))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// importKeys adds n keys, 10,000 at a time, as an operator would.
func importKeys(b *testing.B, r *replica.Replica, n int) {
	b.Helper()
	const batch = 10_000
	for first := 0; first < n; first += batch {
		importRange(b, r, first, min(first+batch, n))
	}
}

func importRange(b *testing.B, r *replica.Replica, first, end int) {
	b.Helper()
	in := &store.KeyImport{}
	for i := first; i < end; i++ {
		in.Keys = append(in.Keys, replicatest.CreateKey(i).Change.(*store.KeyCreate).Key)
		in.Lines = append(in.Lines, i-first+1)
	}
	cmd := replicatest.CreateKey(0)
	cmd.Change = in
	for _, l := range replicatest.Must(b, r, cmd).Lines {
		if l.Error != "" {
			b.Fatal(l.Error)
		}
	}
}

// ready measures from opening the replica in dir until it may serve.
func ready(b *testing.B, dir string) (*replica.Replica, time.Duration) {
	began := time.Now()
	r := replicatest.Start(b, replicatest.Config(b, vfs.Default, dir))
	return r, time.Since(began)
}

// large skips a benchmark that takes minutes to prepare, unless it is asked for.
func large(b *testing.B) {
	if os.Getenv("PERFGATE_BENCH_LARGE") == "" {
		b.Skip("takes minutes: PERFGATE_BENCH_LARGE=1")
	}
}

// BenchmarkStart measures how long it takes from the start until a replica is
// ready: with a million keys, and after writes that ended with kill -9.
func BenchmarkStart(b *testing.B) {
	large(b)
	b.Run("1M keys", func(b *testing.B) {
		dir := b.TempDir()
		r := replicatest.At(b, vfs.Default, dir)
		replicatest.Begin(b, r)
		importKeys(b, r, 1_000_000)
		replicatest.Shut(b, r)
		var total time.Duration
		for b.Loop() {
			r, took := ready(b, dir)
			total += took
			replicatest.Shut(b, r)
		}
		b.ReportMetric(total.Seconds()/float64(b.N), "s/start")
	})
	b.Run("400k writes and kill -9", func(b *testing.B) {
		dir := b.TempDir()
		r := replicatest.At(b, vfs.Default, dir)
		replicatest.Begin(b, r)
		replicatest.Shut(b, r)
		child{Dir: dir, Writers: 64}.kill(b, func(n int) bool { return n >= 400_000 })
		r, took := ready(b, dir)
		b.ReportMetric(took.Seconds(), "s/start")
		replicatest.Shut(b, r)
	})
}

// BenchmarkSnapshot measures the cost of one snapshot for writes: the time for
// which nothing is applied.
func BenchmarkSnapshot(b *testing.B) {
	r := replicatest.New(b)
	importKeys(b, r, 200_000)
	n := 0
	for b.Loop() {
		b.StopTimer()
		for range 20 {
			n++
			replicatest.Must(b, r, replicatest.CreateKey(200_000+n))
		}
		b.StartTimer()
		s, err := r.Store().Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Release()
		b.StartTimer()
	}
}

// BenchmarkRestore measures a state coming back from a snapshot: a start
// after the state was lost.
func BenchmarkRestore(b *testing.B) {
	large(b)
	dir := b.TempDir()
	r := replicatest.At(b, vfs.Default, dir)
	replicatest.Begin(b, r)
	importKeys(b, r, 1_000_000)
	if err := r.Raft().Snapshot().Error(); err != nil {
		b.Fatal(err)
	}
	replicatest.Shut(b, r)
	var total time.Duration
	for b.Loop() {
		if err := os.RemoveAll(filepath.Join(dir, datadir.StateDir)); err != nil {
			b.Fatal(err)
		}
		r, took := ready(b, dir)
		total += took
		replicatest.Shut(b, r)
	}
	b.ReportMetric(total.Seconds()/float64(b.N), "s/restore")
}
