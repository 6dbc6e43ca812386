package share

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/limiter/pool"
)

// many is a load of many keys on three nodes, in virtual time with calls of 0.2 ms. The
// messages are encoded as between processes, so that their bytes can be counted.
type many struct {
	name    string
	keys    int
	limit   int64 // a minute; burst = limit
	percent int64 // of the limit
	lasts   time.Duration
	at      func(key, k int) int // node of request k of a key

	mu      sync.Mutex // guards the fields below
	total   int
	refused int
	waits   []time.Duration // of requests that asked other nodes
	bytes   int64           // between all nodes, of requests and answers
	bucket  float64         // bytes of memory of a bucket on a node
}

func (l *many) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		var all sync.WaitGroup
		for range l.keys { // the runtime keeps what goroutines of the test and their timers took
			all.Go(func() { time.Sleep(time.Second) })
		}
		all.Wait()
		before := heap()
		every := time.Minute * 100 / time.Duration(l.limit*l.percent)
		for key := range l.keys {
			all.Go(func() {
				time.Sleep(every * time.Duration(key) / time.Duration(l.keys)) // they do not come together
				for k := range int(l.lasts / every) {
					l.ask(f.nodes[f.ids[l.at(key, k)]], key)
					time.Sleep(every)
				}
			})
		}
		all.Wait()
		l.bytes = f.bytes.Load()
		time.Sleep(waitMost) // calls that are under way end, with their timers
		l.bucket = float64(heap()-before) / float64(f.buckets())
	})
}

// heap is the memory that is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// buckets counts those of all nodes.
func (f *fleet) buckets() (n int) {
	for _, s := range f.nodes {
		s.pool.Each(func(shard *pool.Shard) { shard.Look(s.conf.Now(), func(*pool.Bucket) { n++ }) })
	}
	return n
}

func (l *many) ask(s *station, key int) {
	n := pool.Name{byte(key)} // the first byte is its shard's
	binary.BigEndian.PutUint32(n[4:], uint32(key))
	began := time.Now()
	ok := s.take(n, minute(l.limit))
	wait := time.Since(began) // virtual: a request that asks nobody takes no time
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if !ok {
		l.refused++
	}
	if wait > 0 {
		l.waits = append(l.waits, wait)
	}
}

// share is that of the requests that waited, in percent, and at is a quantile of the waits.
func (l *many) share() float64 { return 100 * float64(len(l.waits)) / float64(l.total) }

func (l *many) quantile(q float64) time.Duration {
	if len(l.waits) == 0 {
		return 0
	}
	slices.Sort(l.waits)
	return l.waits[int(q*float64(len(l.waits)-1))]
}

// Below their limit no requests are refused, hardly any waits, the messages of a key need few
// bytes, and so does its bucket. With PERFGATE_BENCH_LIMITS=1 (make bench-limits) there are 10,000 keys.
func TestManyKeys(t *testing.T) {
	keys := 200
	if os.Getenv("PERFGATE_BENCH_LIMITS") != "" {
		keys = 10_000
	}
	atOne, inTurn := func(key, _ int) int { return key % 3 }, func(_, k int) int { return k % 3 }
	for _, l := range []*many{
		{name: "80 % at one node", keys: keys, limit: 60, percent: 80, lasts: 30 * time.Second, at: atOne},
		{name: "80 % in turn", keys: keys, limit: 60, percent: 80, lasts: 30 * time.Second, at: inTurn},
		{name: "80 % at one node", keys: keys / 100, limit: 6000, percent: 80, lasts: 30 * time.Second, at: atOne},
		{name: "80 % in turn", keys: keys / 100, limit: 6000, percent: 80, lasts: 30 * time.Second, at: inTurn},
	} {
		l.run(t)
		perKey := float64(l.bytes) / l.lasts.Seconds() / float64(l.keys)
		t.Logf("%s, %d keys, limit %d: %d requests, %d refused; %.3f %% waited, half of them up to %v, 99 %% up to %v; %.0f B/s a key, %.2f MB/s in all; %.0f B of memory a bucket and node",
			l.name, l.keys, l.limit, l.total, l.refused, l.share(), l.quantile(.5), l.quantile(.99), perKey, perKey*float64(l.keys)/1e6, l.bucket)
		if l.refused > 0 || perKey > 300 || l.limit >= 6000 && l.share() > .1 || l.quantile(.99) > 3*time.Millisecond {
			t.Errorf("%s, limit %d: beyond its bounds", l.name, l.limit)
		}
	}
}
