package local

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

func typical() *Observation {
	o := admitted(day0, "acct_2xKd93mQpLw81VbTnYzR4s", "key_2xKd93mQpLw81VbTnYzR4s")
	o.RequestID = "01JD5Z0Q4X8Y2N6M3K7P9R1S5T"
	o.UserAgent = "Mozilla/5.0 (X11; Linux x86_64) python-requests/2.28.1"
	return o
}

// The caller's side; requests that find the queue full are counted, as in production.
func BenchmarkObserve(b *testing.B) {
	for _, mode := range []string{RequestsAll, RequestsOff} {
		for _, callers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/callers=%d", mode, callers), func(b *testing.B) {
				l := ticking(b, Config{FS: vfs.Default, Dir: b.TempDir(), Requests: mode})
				b.ReportAllocs()
				b.SetParallelism(1)
				if callers == 1 {
					o := typical()
					for b.Loop() {
						l.Observe(o)
					}
				} else {
					b.RunParallel(func(pb *testing.PB) {
						for o := typical(); pb.Next(); {
							l.Observe(o)
						}
					})
				}
				b.ReportMetric(100*float64(l.Dropped())/float64(b.N), "%dropped")
			})
		}
	}
}

// Only the copy into the queue, without a writer beside it on the same cores.
func BenchmarkPush(b *testing.B) {
	q := newQueue(shardBytes)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		o := typical()
		for pb.Next() {
			if !q.push(o, 1, recEvent|recCounted|recUsed) {
				for i := range q.shards {
					q.swap(i, q.shards[i].buf)
				}
			}
		}
	})
}

// How many requests a second reach the disk when callers wait for the writer:
// events, usage and last use of n keys.
func BenchmarkWrite(b *testing.B) {
	for _, keys := range []int{1, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			l := ticking(b, Config{FS: vfs.Default, Dir: b.TempDir()})
			ids := make([]store.KeyID, keys)
			for i := range ids {
				ids[i] = store.KeyID(fmt.Sprintf("key_%022d", i))
			}
			o := typical()
			b.ResetTimer()
			for i := range b.N {
				o.At, o.Key = day0.Add(time.Duration(i)*10*time.Microsecond), ids[i*7919%keys]
				l.Observe(o)
				if i%10_000 == 9_999 {
					if err := l.turn(false); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := l.Flush(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			total := l.db.Metrics().Total()
			b.ReportMetric(float64(total.TableBytesCompacted)/float64(max(total.TableBytesFlushed, 1)), "rewrites")
			if n := l.Dropped(); n > 0 {
				b.Fatalf("%d dropped", n)
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
		})
	}
}

// size is a number that the environment may set.
func size(b *testing.B, name string, standard int) int {
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q is no number", name, text)
	}
	return n
}

// The first page of the events of one key, newest first, among EVENTS of 1,000 keys: of a key like
// all others, and of one that was used once, long ago.
func BenchmarkFirstPage(b *testing.B) {
	n := size(b, "EVENTS", 500_000)
	l := ticking(b, Config{FS: vfs.Default, Dir: b.TempDir(), MaxBytes: 1 << 40})
	o := typical()
	o.Account = store.DefaultAccount
	for i := range n {
		o.At = day0.Add(time.Duration(i) * 2 * time.Millisecond)
		o.Key = store.KeyID("key_0123456789abcdefgh" + strconv.Itoa(i%1000))
		if i == 0 {
			o.Key = "key_once"
		}
		l.Observe(o)
		if i%10_000 == 9_999 {
			if err := l.turn(false); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.db.Flush(); err != nil {
		b.Fatal(err)
	}
	for name, key := range map[string]store.KeyID{"usual key": "key_0123456789abcdefgh77", "used once": "key_once"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				found := 0
				for _, err := range l.Events(store.EventQuery{Account: store.DefaultAccount, Key: key, Newest: true}) {
					if err != nil {
						b.Fatal(err)
					}
					if found++; found == 100 {
						break
					}
				}
				if found == 0 {
					b.Fatal("nothing was found")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/page")
		})
	}
}

// A whole export's read side: EVENTS of one account among others', decoded.
func BenchmarkScan(b *testing.B) {
	n := size(b, "EVENTS", 500_000)
	l := ticking(b, Config{FS: vfs.Default, Dir: b.TempDir(), MaxBytes: 1 << 40})
	o, other := typical(), typical()
	other.Account = ""
	for i := range n {
		o.At = day0.Add(time.Duration(i) * 2 * time.Millisecond)
		o.RequestID = "01JD5Z0Q4X8Y2N6M3K7P" + strconv.Itoa(i)
		o.Account = store.DefaultAccount
		l.Observe(o)
		if i%10 == 0 {
			other.At = o.At
			l.Observe(other)
		}
		if i%10_000 == 9_999 {
			l.turn(false)
		}
	}
	if err := l.db.Flush(); err != nil {
		b.Fatal(err)
	}
	disk, _ := l.db.EstimateDiskUsage([]byte{rowEvent}, []byte{rowEvent + 1})
	for _, q := range []struct {
		name string
		q    store.EventQuery
	}{
		{"merged", store.EventQuery{Account: store.DefaultAccount}},
		{"all", store.EventQuery{}},
		{"filtered out", store.EventQuery{Key: "key_none"}},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			var m runtime.MemStats
			var peak uint64
			runtime.GC()
			for b.Loop() {
				i := 0
				for _, err := range l.Events(q.q) {
					if err != nil {
						b.Fatal(err)
					}
					if i++; i%20_000 == 0 {
						runtime.ReadMemStats(&m)
						peak = max(peak, m.HeapInuse)
					}
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB-heap")
			b.ReportMetric(float64(n)*1.1*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(disk)/(float64(n)*1.1), "disk-B/event")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	o := typical()
	v := appendRequest(nil, o, true)
	d := decoder{prefix: "evt_01234567"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.event(ownerOf(o.Account, false), nanos(day0), 7, v); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(v)), "value-B")
	b.ReportMetric(float64(len(eventKey(nil, o.Account, nanos(day0), 7))), "key-B")
}

// A month of hours of 100 keys, summed by key.
func BenchmarkUsage(b *testing.B) {
	l := ticking(b, Config{FS: vfs.Default, Dir: b.TempDir(), Requests: RequestsOff, Clock: func() time.Time { return day0.AddDate(0, 0, 30) }})
	o := typical()
	for h := range 30 * 24 {
		for k := range 100 {
			o.At, o.Key = day0.Add(time.Duration(h)*time.Hour), store.KeyID("key_"+strconv.Itoa(k))
			l.Observe(o)
		}
		l.turn(false)
	}
	for _, g := range []Group{ByNothing, ByKey} {
		b.Run("by="+string(g), func(b *testing.B) {
			for b.Loop() {
				step := StepDay
				if g == ByNothing {
					step = StepHour
				}
				if _, err := l.Usage(UsageQuery{Account: o.Account, From: day0, Step: step, GroupBy: g}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Ninety days of 10,000 keys (KEYS), one request of each on each day.
func BenchmarkNinetyDays(b *testing.B) {
	keys := size(b, "KEYS", 10_000)
	l := ticking(b, Config{FS: vfs.Default, Dir: b.TempDir(), Requests: RequestsOff, Clock: func() time.Time { return day0.AddDate(0, 0, 90) }})
	o := typical()
	for d := range 90 {
		for k := range keys {
			o.At, o.Key = day0.AddDate(0, 0, d), store.KeyID("key_0123456789abcdefgh"+strconv.Itoa(k))
			l.Observe(o)
		}
		if err := l.turn(false); err != nil {
			b.Fatal(err)
		}
	}
	for name, q := range map[string]UsageQuery{
		"all":        {Step: StepDay},
		"by country": {Step: StepDay, GroupBy: ByCountry},
		"by key":     {Step: StepDay, GroupBy: ByKey, From: day0.AddDate(0, 0, 86)},
		"one key":    {Step: StepHour, Key: "key_0123456789abcdefgh77"},
	} {
		q.Account = o.Account
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := l.Usage(q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
