package limiter

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/roster"
)

// A decision on one of a million buckets of the pool, and their memory. The median and the
// 99th percentile bear other programs on the machine better than a mean does. The reading of
// the clock is within the times.
func TestDecisionOfAMillion(t *testing.T) {
	if os.Getenv("PERFGATE_BENCH_LIMITS") == "" {
		t.Skip("set PERFGATE_BENCH_LIMITS=1 (make bench-limits)")
	}
	const many, decisions = 1 << 20, 1 << 20
	in := pool.NewBounded("a", pool.Bounds{Traffic: 1 << 20, Identifiers: 2 * many})
	in.Begin([]roster.Roster{{Index: 1, Nodes: []string{"a", "b", "c"}}}, 0, bootTime-1000e9)
	p := Pace{Limit: 6000, Burst: 6000, Window: 60e9}
	take := func(i uint32, now int64) bool {
		var n pool.Name
		n[0] = byte(i)
		binary.BigEndian.PutUint32(n[4:], i)
		v, _, _ := TakePooled(in, n, 0, p, 1, now, false)
		return v.Allowed
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range uint32(many) {
		if !take(i, bootTime+1) {
			t.Fatalf("bucket %d is refused", i)
		}
	}
	memory := float64(heap()-before) / many
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	times, clock := make([]time.Duration, decisions), make([]time.Duration, 1<<16)
	for i := range clock {
		began := time.Now()
		clock[i] = time.Since(began)
	}
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	for i := range times {
		at := random.Uint32N(many)
		began := time.Now()
		take(at, bootTime+2+int64(i)*100)
		times[i] = time.Since(began)
	}
	runtime.ReadMemStats(&end)
	slices.Sort(times)
	slices.Sort(clock)
	t.Logf("%d buckets, seed %d: half of the decisions take up to %v, 99 %% up to %v, and the clock %v of it; %.3f allocations; %.0f B of memory a bucket",
		many, seed, times[decisions/2], times[decisions/100*99], clock[len(clock)/2], float64(end.Mallocs-start.Mallocs)/decisions, memory)
}
