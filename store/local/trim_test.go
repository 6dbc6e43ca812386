package local

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

// still is a Local without a goroutine: the test runs the writer itself.
func still(t *testing.T, cfg Config) *Local {
	t.Helper()
	cfg.FS, cfg.Dir, cfg.Logger, cfg.Node = vfs.NewMem(), "l", quiet(), "n"
	cfg.stamp, cfg.whole = asObserved, 1<<30
	l, err := prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func times(t *testing.T, l *Local, account store.AccountID) (out []time.Time) {
	t.Helper()
	snap := l.db.NewSnapshot()
	defer snap.Close()
	r, err := l.newReader(snap, store.EventQuery{Account: account})
	must(t, err)
	defer r.close()
	must(t, r.stream(func(e *store.Event, err error) bool {
		out = append(out, e.Time)
		return err == nil
	}))
	return out
}

// Each account's events go when its own retention has passed, at most one span
// late and never early, independently of the others; retention may be shortened.
func TestRetention(t *testing.T) {
	keep := map[store.AccountID]time.Duration{"default": 30 * 24 * time.Hour, "acct_week": 7 * 24 * time.Hour, "acct_long": 90 * 24 * time.Hour}
	l := still(t, Config{Retention: func(a store.AccountID) time.Duration { return keep[a] }})
	go func() { <-l.stop; close(l.done) }()
	defer l.Close()
	const every = 6 * time.Hour
	for i := range 4 * 50 {
		for a := range keep {
			l.Observe(admitted(day0.Add(time.Duration(i)*every), a, "key_a"))
		}
		l.Observe(denial(day0.Add(time.Duration(i)*every), "", "invalid_key", 401))
		must(t, l.w.write(true, false))
	}
	check := func(now time.Time) {
		t.Helper()
		must(t, l.w.trim(now))
		for a, d := range map[store.AccountID]time.Duration{"default": keep["default"], store.Operators: keep["default"], "acct_week": keep["acct_week"], "acct_long": keep["acct_long"]} {
			var kept, expired int
			for _, at := range times(t, l, a) {
				switch age := now.Sub(at); {
				case age > d+span:
					expired++
				case age <= d:
					kept++
				}
			}
			want := 0
			for i := range 4 * 50 {
				if now.Sub(day0.Add(time.Duration(i)*every)) <= d {
					want++
				}
			}
			if expired > 0 || kept != want {
				t.Errorf("%v, %s: %d expired ones are still there; %d kept, want %d", now, a, expired, kept, want)
			}
		}
	}
	for _, days := range []int{1, 8, 31, 31, 60, 89} {
		check(day0.AddDate(0, 0, days))
	}
	keep["acct_long"] = 40 * 24 * time.Hour
	check(day0.AddDate(0, 0, 89).Add(time.Minute))
	check(day0.AddDate(1, 0, 0))
	if b, _, some, err := l.w.buckets(rowEvent); some || err != nil {
		t.Errorf("bucket %d is left, %v", b, err)
	}
}

// Usage rows go by their step.
func TestUsageRetention(t *testing.T) {
	l := still(t, Config{Clock: func() time.Time { return day0.AddDate(2, 0, 0) }})
	l.Observe(admitted(day0, "default", "key_a"))
	must(t, l.w.write(true, false))
	for _, c := range []struct {
		after             time.Duration
		minute, hour, day int64
	}{
		{47 * time.Hour, 1, 1, 1},
		{49 * time.Hour, 0, 1, 1},
		{89 * 24 * time.Hour, 0, 1, 1},
		{91 * 24 * time.Hour, 0, 0, 1},
		{400 * 24 * time.Hour, 0, 0, 1},
		{402 * 24 * time.Hour, 0, 0, 0},
	} {
		must(t, l.w.trim(day0.Add(c.after)))
		for i, want := range []int64{c.minute, c.hour, c.day} {
			rows, err := l.usage(UsageQuery{Account: "default"}, steps[i].code, steps[i].minutes)
			must(t, err)
			if int64(len(rows)) != want {
				t.Errorf("after %v: %d rows by %s, want %d", c.after, len(rows), steps[i].step, want)
			}
		}
	}
	go l.run()
	must(t, l.Close())
}

// fill writes n events of each account over ten-minute buckets and compacts them: a
// compaction that came later would change the size that a test has measured.
func fill(t *testing.T, l *Local, from time.Time, buckets, n int, accounts ...store.AccountID) {
	t.Helper()
	for b := range buckets {
		for i := range n {
			for _, a := range accounts {
				o := denial(from.Add(time.Duration(b)*span+time.Duration(i)*span/time.Duration(n)), a, "invalid_key", 401)
				o.RequestID = time.Duration(i * 7919 * (b + 1)).String()
				l.Observe(o)
			}
		}
		must(t, l.w.write(true, false))
	}
	must(t, l.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
}

func (l *Local) sizeOf(t *testing.T, row byte) int64 {
	t.Helper()
	n, err := l.db.EstimateDiskUsage([]byte{row}, []byte{row + 1})
	must(t, err)
	return int64(n)
}

// Beyond max_bytes the oldest events go, and no more of them than needed, even
// before Pebble has freed anything.
func TestMaxBytes(t *testing.T) {
	now := day0.Add(40 * span)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 20, 500, "acct_a", "acct_b")
	l.cfg.MaxBytes = l.sizeOf(t, rowEvent) / 2
	must(t, l.w.trim(now))
	once := len(times(t, l, ""))
	for range 3 {
		must(t, l.w.trim(now))
	}
	got := times(t, l, "")
	if len(got) != once {
		t.Errorf("%d events left, then %d: what is not freed yet was paid for twice", once, len(got))
	}
	if len(got) < 2*500*7 || len(got) > 2*500*10 {
		t.Errorf("%d of 20,000 events left, want a little under half", len(got))
	}
	if first, want := got[0], day0.Add(20*span-time.Duration(len(got)/1000)*span); !first.Equal(want) {
		t.Errorf("first event of %v, want %v: the newest, in whole buckets", first, want)
	}
	go l.run()
	must(t, l.Close())
}

// A flood of requests with unknown keys has a quarter of the room, and takes
// none of the accounts' events with it.
func TestFloodWithoutAccount(t *testing.T) {
	now := day0.Add(40 * span)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 4, 100, "acct_a")
	fill(t, l, day0, 20, 1000, "")
	l.cfg.MaxBytes = l.sizeOf(t, rowStray)
	must(t, l.w.trim(now))
	if n := len(times(t, l, "acct_a")); n != 400 {
		t.Errorf("%d of the account's 400 events left", n)
	}
	if n := len(times(t, l, "")) - 400; n < 2000 || n > 5000 {
		t.Errorf("%d of 20,000 others left, want a quarter", n)
	}
	go l.run()
	must(t, l.Close())
}

// When ten minutes alone are too much, their older half goes.
func TestMaxBytesInOneBucket(t *testing.T) {
	now := day0.Add(span - time.Second)
	l := still(t, Config{Clock: func() time.Time { return now }, MaxBytes: 1})
	fill(t, l, day0, 1, 1000, "acct_a", "acct_b")
	must(t, l.w.trim(now))
	got := times(t, l, "")
	if len(got) < 900 || len(got) > 1100 || got[0].Before(day0.Add(span/2-time.Second)) {
		t.Errorf("%d of 2,000 events left, from %v", len(got), got[0])
	}
	go l.run()
	must(t, l.Close())
}

// The age of events and usage is judged by the time that Aged gives, where that is
// earlier: a clock that jumps ahead removes neither events nor usage.
func TestTrimByAged(t *testing.T) {
	aged := day0.Add(time.Hour)
	l := still(t, Config{Aged: func() time.Time { return aged }})
	go func() { <-l.stop; close(l.done) }()
	defer l.Close()
	l.Observe(admitted(day0, "default", "key_a"))
	must(t, l.w.write(true, false))
	kept := func() (events, usage int) {
		for _, s := range steps {
			it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: slotKey(rowUsage, s.code, 0), UpperBound: slotKey(rowUsage, s.code, ^uint32(0))})
			must(t, err)
			for it.First(); it.Valid(); it.Next() {
				usage++
			}
			must(t, it.Close())
		}
		return len(times(t, l, "default")), usage
	}
	must(t, l.w.write(true, true))
	events, slots := kept()
	if events != 1 || slots == 0 {
		t.Fatalf("%d events and %d slots of usage were written", events, slots)
	}
	for _, now := range []time.Time{day0.Add(time.Hour), day0.AddDate(2, 0, 0)} {
		must(t, l.w.trim(now))
		if events, usage := kept(); events != 1 || usage != slots {
			t.Errorf("trimmed at %v: %d events and %d of %d slots of usage are left", now, events, usage, slots)
		}
	}
	aged = day0.AddDate(2, 0, 0)
	must(t, l.w.trim(day0.Add(time.Hour))) // and a clock that is behind removes nothing
	if events, _ := kept(); events != 1 {
		t.Error("removed by a time that is later than now")
	}
	must(t, l.w.trim(aged))
	if events, usage := kept(); events != 0 || usage != 0 {
		t.Errorf("%d events and %d slots of usage are left after two years", events, usage)
	}
}
