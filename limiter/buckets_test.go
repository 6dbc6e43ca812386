package limiter

import (
	"encoding/binary"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBucketsSteps(t *testing.T) {
	b := NewBuckets(64)
	day := Pace{Limit: 1_000_000, Window: int64(24 * time.Hour)}
	for _, step := range []struct {
		name      string
		pace      Pace
		units     int64
		at        time.Duration
		allowed   bool
		remaining int64
		retry     int64
		reset     time.Duration
	}{
		{"a", Pace{Limit: 5, Window: 1e9}, 5, 0, true, 0, 0, time.Second},
		{"a", Pace{Limit: 5, Window: 1e9}, 1, 0, false, 0, 1, time.Second},
		{"a", Pace{Limit: 5, Window: 1e9}, 1, 200 * time.Millisecond, true, 0, 0, time.Second},
		{"b", Pace{Limit: 5, Window: 1e9}, 1, 200 * time.Millisecond, true, 4, 0, 200 * time.Millisecond},
		{"c", Pace{Limit: 2, Burst: 10, Window: 60e9}, 10, 0, true, 0, 0, 5 * time.Minute},
		{"c", Pace{Limit: 2, Burst: 10, Window: 60e9}, 2, time.Second, false, 0, 59, 299 * time.Second},
		{"d", day, 1_000_000, 0, true, 0, 0, 24 * time.Hour},
		{"d", day, 1, 0, false, 0, 1, 24 * time.Hour},
		{"d", day, 11, 86400*11*time.Microsecond - 1, false, 10, 1, 24*time.Hour - 86400*11*time.Microsecond + 1},
		{"d", day, 11, 86400 * 11 * time.Microsecond, true, 0, 0, 24 * time.Hour},
	} {
		v := b.Take(NameOf(step.name), step.pace, step.units, bootTime+int64(step.at), Forever)
		if v.Allowed != step.allowed || v.Remaining != step.remaining || v.RetryAfter != step.retry || v.Reset != int64(step.reset) {
			t.Errorf("%+v\n got %+v (reset %v)", step, v, time.Duration(v.Reset))
		}
	}
	for _, p := range []Pace{{}, {Limit: 1}, {Window: 1}, {Limit: -1, Window: 1}, {Limit: 1, Window: MaxWindow + 1}} {
		if v := b.Take(NameOf("x"), p, 1, bootTime, Forever); v.Allowed || !v.Never || v.RetryAfter < 1 {
			t.Errorf("pace %+v: %+v", p, v)
		}
	}
	if v := b.Take(NameOf("x"), Pace{Limit: 5, Window: 1e9}, 6, bootTime, Forever); v.Allowed || !v.Never {
		t.Errorf("six of five: %+v", v)
	}
}

// At any pace, in any window of time, a bucket admits at most its burst and the
// refill; it gives all of that except the drain of one tick; and the wait that it
// names is enough.
func TestBucketsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBuckets(64)
		name := NameOf("ns", "user")
		p := Pace{
			Limit:  rapid.SampledFrom([]int64{1, 7, 60, 999_983, 1 << 50}).Draw(t, "limit"),
			Burst:  rapid.SampledFrom([]int64{1, 3, 10}).Draw(t, "burst"),
			Window: rapid.SampledFrom([]int64{1, 1e9, 7e9 + 1, 60e9, 61e9 + 7, 86400e9, MaxWindow}).Draw(t, "window"),
		}
		unit := p.Window / p.Limit
		pause := rapid.OneOf(genPause(), rapid.Int64Range(0, 2*unit+1), rapid.Just(unit), rapid.Just(unit+1))
		rate := big.NewRat(p.Limit, p.Window)
		used, now := new(big.Rat), bootTime
		var hits []hit
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			d := pause.Draw(t, "pause")
			now += d
			if used.Sub(used, new(big.Rat).Mul(rate, big.NewRat(d, 1))); used.Sign() < 0 {
				used.SetInt64(0)
			}
			units := rapid.Int64Range(1, p.Burst).Draw(t, "units")
			if rapid.IntRange(0, 4).Draw(t, "prune") == 0 {
				b.Prune(now)
			}
			v := b.Take(name, p, units, now, Forever)
			if v.Allowed {
				hits = append(hits, hit{now, units})
				used.Add(used, big.NewRat(units, 1))
				if used.Cmp(big.NewRat(p.Burst, 1)) > 0 {
					t.Fatalf("more than the burst is in use: %s", used.String())
				}
			} else {
				// A tick and the rounding of the window are all that may be missing.
				tick, _ := measure(p.Window)
				slack := new(big.Rat).Mul(rate, big.NewRat(2*tick+int64(len(hits))*p.Window/60_000_000+1, 1))
				if free := new(big.Rat).Sub(big.NewRat(p.Burst-units, 1), used); free.Cmp(slack) > 0 {
					t.Fatalf("refused with %s free", free.FloatString(9))
				}
				if v.RetryAfter < 1<<33 {
					now += v.RetryAfter * 1e9
					used.Sub(used, new(big.Rat).Mul(rate, big.NewRat(v.RetryAfter*1e9, 1)))
					if used.Sign() < 0 {
						used.SetInt64(0)
					}
					if v := b.Peek(name, p, units, now, Forever); !v.Allowed {
						t.Fatalf("after the wait: %+v", v)
					}
				}
			}
		}
		checkWindows(t, hits, rate, p.Burst)
	})
}

// hit is units that were admitted.
type hit struct{ at, units int64 }

// checkWindows holds every window of time to the burst and the refill.
func checkWindows(t *rapid.T, hits []hit, rate *big.Rat, burst int64) {
	for i := range hits {
		sum := int64(0)
		for _, h := range hits[i:] {
			sum += h.units
			bound := new(big.Rat).Mul(rate, big.NewRat(h.at-hits[i].at, 1))
			if bound.Add(bound, big.NewRat(burst, 1)).Cmp(big.NewRat(sum, 1)) < 0 {
				t.Fatalf("%d admitted in %v", sum, time.Duration(h.at-hits[i].at))
			}
		}
	}
}

// With any pace in each call, at most the burst and the refill at the slower of
// neighbouring paces is admitted between any two calls.
func TestBucketsChangedPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, now := NewBuckets(64), bootTime
		type call struct {
			at   int64
			n    int64
			rate *big.Rat
		}
		var calls []call
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += genPause().Draw(t, "pause")
			p := Pace{
				Limit:  rapid.SampledFrom([]int64{1, 7, 60, 999_983}).Draw(t, "limit"),
				Burst:  10,
				Window: rapid.SampledFrom([]int64{1e9, 7e9 + 1, 60e9, 86400e9, MaxWindow}).Draw(t, "window"),
			}
			c := call{at: now, rate: big.NewRat(p.Limit, p.Window)}
			if n := rapid.Int64Range(1, 10).Draw(t, "units"); b.Take(NameOf("u"), p, n, now, Forever).Allowed {
				c.n = n
			}
			calls = append(calls, c)
		}
		for i := range calls {
			sum, bound := int64(0), big.NewRat(10, 1)
			for j, c := range calls[i:] {
				if j > 0 {
					before := calls[i+j-1]
					rate := c.rate
					if before.rate.Cmp(rate) < 0 {
						rate = before.rate
					}
					bound.Add(bound, new(big.Rat).Mul(rate, big.NewRat(c.at-before.at, 1)))
				}
				if sum += c.n; bound.Cmp(big.NewRat(sum, 1)) < 0 {
					t.Fatalf("%d admitted from call %d to %d, the promise is %s", sum, i, i+j, bound.FloatString(6))
				}
			}
		}
	})
}

// A nanosecond that passed at a slow pace must not drain at the fast one that
// comes after it, however small a part of a tick it is.
func TestBucketsChangedPaceDropsPartTick(t *testing.T) {
	second := Pace{Limit: 1, Burst: 10, Window: 1e9}
	b, now := NewBuckets(64), bootTime
	for _, c := range []struct {
		pause int64
		pace  Pace
		units int64
		want  bool
	}{
		{0, second, 2, true},
		{0, Pace{Limit: 1, Burst: 10, Window: 7e9 + 1}, 1, true},
		{1, Pace{Limit: 999_983, Burst: 10, Window: 86400e9}, 4, true},
		{999_999_999, second, 4, false}, // 11 in a second and a nanosecond, one short of refilled
		{1, second, 4, true},
	} {
		now += c.pause
		if got := b.Take(NameOf("u"), c.pace, c.units, now, Forever); got.Allowed != c.want {
			t.Errorf("after %d ns: %+v, want allowed %t", c.pause, got, c.want)
		}
	}
}

// Dropping a whole bucket leaves every other one where it is found.
func TestBucketsDropMovesNothingElse(t *testing.T) {
	b := NewBuckets(6400)
	name := func(i int) Name { return NameOf("n", string(rune('a'+i%26)), string(rune('a'+i/26))) }
	for i := range 600 {
		p := Pace{Limit: 10, Window: 60e9}
		if i%2 == 0 {
			p.Window = 1e9
		}
		b.Take(name(i), p, int64(1+i%5), bootTime, Forever)
	}
	b.Prune(bootTime + 1e9)
	if b.Len() != 300 {
		t.Fatalf("%d left of 300", b.Len())
	}
	for i := range 600 {
		want := int64(10)
		if i%2 == 1 {
			want -= int64(1 + i%5)
		}
		if v := b.Peek(name(i), Pace{Limit: 10, Window: 60e9}, 1, bootTime, Forever); v.Remaining != want {
			t.Errorf("bucket %d: %d left, want %d", i, v.Remaining, want)
		}
	}
}

func TestBucketsFullRefusesNewcomersOnly(t *testing.T) {
	const places = 640
	b := NewBuckets(places)
	p := Pace{Limit: 2, Window: 60e9}
	name := func(i int) (n Name) { binary.BigEndian.PutUint64(n[:], uint64(i)); return n }
	full := 0
	for i := range 10 * places {
		if v := b.Take(name(i), p, 1, bootTime, Forever); v.Full {
			if v.Allowed || v.RetryAfter < 1 {
				t.Fatalf("full: %+v", v)
			}
			full++
		}
	}
	if n := b.Len(); n > places || n < places/2 || full != 10*places-n {
		t.Fatalf("%d places taken of %d, %d refused", n, places, full)
	}
	in := 0
	for i := range 10 * places {
		if v := b.Take(name(i), p, 2, bootTime, Forever); !v.Full && !v.Allowed {
			in++ // still known: only one of two is left
		}
	}
	if in != b.Len() {
		t.Fatalf("%d of %d buckets in use were kept", in, b.Len())
	}
	// Once they are whole their places are free, without a Prune.
	later := bootTime + 120e9
	for i := 20 * places; i < 21*places; i++ {
		if v := b.Take(name(i), Pace{Limit: 2, Window: 1e9}, 1, later+int64(i)*1e9, Forever); !v.Allowed {
			t.Fatalf("%+v", v)
		}
	}
	b.Prune(later + 1e18)
	if b.Len() != 0 {
		t.Fatalf("%d left after pruning", b.Len())
	}
}

func TestBucketsOverAStop(t *testing.T) {
	p := Pace{Limit: 60, Burst: 10, Window: 60e9}
	b := NewBuckets(64)
	b.Take(NameOf("a"), p, 8, bootTime, Forever)
	export := b.Export(bootTime+1e9, nil)
	for _, c := range []struct {
		gap  int64
		want int64
	}{{0, 3}, {2e9, 5}, {1 << 60, 10}} {
		b = NewBuckets(64)
		if err := b.Import(export, bootTime+3e9, c.gap); err != nil {
			t.Fatal(err)
		}
		if v := b.Peek(NameOf("a"), p, 1, bootTime+3e9, Forever); v.Remaining != c.want {
			t.Errorf("gap %v: %+v, want %d left", time.Duration(c.gap), v, c.want)
		}
	}
	// After a crash: empty, and refilling.
	if v := NewBuckets(64).Take(NameOf("a"), p, 2, bootTime, 2e9); !v.Allowed || v.Remaining != 0 {
		t.Errorf("2 s after a crash: %+v", v)
	}
	if v := NewBuckets(64).Take(NameOf("a"), p, 1, bootTime, 0); v.Allowed || v.RetryAfter != 1 {
		t.Errorf("right after a crash: %+v", v)
	}
}

func TestNames(t *testing.T) {
	seen := map[Name][]string{}
	for _, l := range [][]string{nil, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"a", "b"}, {"ab"}, {"a", "b", ""}} {
		n := NameOf(l...)
		if other, ok := seen[n]; ok {
			t.Errorf("%q and %q have one name", other, l)
		}
		seen[n] = l
	}
}

func TestBucketsAllocateNothing(t *testing.T) {
	b, now := NewBuckets(1000), bootTime
	p := Pace{Limit: 1e9, Window: 60e9}
	b.Take(NameOf("default", "user"), p, 1, now, Forever)
	if n := testing.AllocsPerRun(1000, func() {
		now += 1e6
		b.Take(NameOf("default", "user"), p, 1, now, Forever)
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// However many take at once, no token is made: run with -race.
func TestConcurrentTakes(t *testing.T) {
	m, b := NewMeter(), NewBuckets(64)
	a := at(0, Limit{PerMinute: 60, Burst: 500, PerMonth: 1e6})
	a.Own = Limit{PerMinute: 1, Burst: 450}
	m.Take(a)
	for _, p := range []Policy{MonthQuota, KeyMonth} {
		m.Credit(a.Key, p, thisMonth, 460, 460)
	}
	a.Own.PerMonth = 0
	var got, table atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a := *a
			for range 200 {
				if m.Take(&a).Allowed {
					got.Add(1)
				}
				if b.Take(NameOf("a"), Pace{Limit: 1, Burst: 300, Window: 60e9}, 1, bootTime, Forever).Allowed {
					table.Add(1)
				}
				m.Prune(a.Now, Forever, nil)
				b.Prune(bootTime)
			}
		})
	}
	wg.Wait()
	if got.Load() != 450 || table.Load() != 300 {
		t.Errorf("admitted %d and %d, want 450 and 300", got.Load(), table.Load())
	}
}
