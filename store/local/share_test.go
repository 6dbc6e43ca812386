package local

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
)

// counted checks that the counts are those of the rows, in memory and after a restart.
func counted(t *testing.T, l *Local) {
	t.Helper()
	must(t, l.w.saveSizes())
	want := make(map[owner]uint64)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowEvent}, UpperBound: []byte{rowEvent + 1}})
	must(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		p, ok := parsePlace(it.Key())
		if !ok {
			t.Fatalf("row %x", it.Key())
		}
		want[owner(p.account)] += uint64(len(it.Key()) + len(it.Value()))
	}
	must(t, it.Close())
	again := newWriter(l)
	must(t, again.loadSizes())
	for name, got := range map[string]map[owner]uint64{"kept": l.w.sizes.total, "loaded": again.sizes.total} {
		for a := range got {
			if got[a] != want[a] {
				t.Errorf("%s count of %s: %d bytes, its rows have %d", name, a, got[a], want[a])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s counts of %d accounts, %d have rows", name, len(got), len(want))
		}
	}
}

// An account that floods the log of requests loses its own oldest events, and none of
// an account's that is below its share, however old they are.
func TestFloodOfOneAccount(t *testing.T) {
	now := day0.Add(40 * span)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 4, 100, "acct_a", "acct_b")
	fill(t, l, day0.Add(4*span), 20, 1000, "acct_flood")
	counted(t, l)
	l.cfg.MaxBytes = l.sizeOf(t, rowEvent) / 2
	must(t, l.w.trim(now))
	once := len(times(t, l, "acct_flood"))
	for range 3 {
		must(t, l.w.trim(now))
	}
	for _, a := range []store.AccountID{"acct_a", "acct_b"} {
		if n := len(times(t, l, a)); n != 400 {
			t.Errorf("%d of the 400 events of %s left", n, a)
		}
	}
	got := times(t, l, "acct_flood")
	if len(got) != once || len(got) < 8000 || len(got) > 11000 {
		t.Errorf("%d of 20,000 events of the flood left, then %d; want about half", once, len(got))
	}
	if !got[len(got)-1].After(day0.Add(24*span - time.Second)) {
		t.Errorf("the newest event left is of %v", got[len(got)-1])
	}
	counted(t, l)
	go l.run()
	must(t, l.Close())
}

// Accounts above the share lose events until they have the same, whichever began first.
func TestFairShareOfAccounts(t *testing.T) {
	now := day0.Add(80 * span)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 10, 10, "acct_small")
	fill(t, l, day0.Add(10*span), 30, 200, "acct_early")
	fill(t, l, day0.Add(40*span), 30, 400, "acct_late")
	l.cfg.MaxBytes = l.sizeOf(t, rowEvent) * 2 / 5
	must(t, l.w.trim(now))
	small, early, late := len(times(t, l, "acct_small")), len(times(t, l, "acct_early")), len(times(t, l, "acct_late"))
	if small != 100 {
		t.Errorf("%d of the 100 events below the share left", small)
	}
	if early < 2700 || early > 3900 || late < early-600 || late > early+600 {
		t.Errorf("%d and %d events of the two large accounts left, want about 3,600 of both", early, late)
	}
	counted(t, l)
	go l.run()
	must(t, l.Close())
}

// Within ten minutes the flood loses the older half of its events, and others none.
func TestFloodInOneBucket(t *testing.T) {
	now := day0.Add(span - time.Second)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 1, 4000, "acct_flood")
	fill(t, l, day0, 1, 40, "acct_a")
	l.cfg.MaxBytes = l.sizeOf(t, rowEvent) * 9 / 10
	must(t, l.w.trim(now))
	must(t, l.w.trim(now))
	if n := len(times(t, l, "acct_a")); n != 40 {
		t.Errorf("%d of the account's 40 events left", n)
	}
	if n := len(times(t, l, "acct_flood")); n < 1900 || n > 2100 {
		t.Errorf("%d of the flood's 4,000 events left, want half", n)
	}
	counted(t, l)
	go l.run()
	must(t, l.Close())
}

// However an account's events are spread over time and sizes, and whenever they are cut,
// the counts stay those of the rows. An account is cut to its share, but for what it sent
// in the last minutes.
func TestCutsAreCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := day0
		l := still(t, Config{Clock: func() time.Time { return now }})
		accounts := []store.AccountID{"acct_a", "acct_b"}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, int(span)).Draw(rt, "wait")))
			for range rapid.IntRange(0, 30).Draw(rt, "events") {
				// A long request is noted at its end, at the time of its beginning.
				at := now.Add(-time.Duration(rapid.IntRange(0, int(2*span)).Draw(rt, "age")))
				o := denial(at, rapid.SampledFrom(accounts).Draw(rt, "account"), "invalid_key", 401)
				o.UserAgent = strings.Repeat("x", rapid.IntRange(0, 250).Draw(rt, "size"))
				l.Observe(o)
			}
			must(t, l.w.write(true, false))
			must(t, l.w.saveSizes())
			a := rapid.SampledFrom(accounts).Draw(rt, "cut")
			share := rapid.Uint64Range(0, 8000).Draw(rt, "share")
			must(t, l.w.cutAccount(ownerOf(a, true), share, now))
			must(t, l.w.commit(0))
			counted(t, l)
			if t.Failed() {
				rt.FailNow()
			}
		}
		go l.run()
		must(t, l.Close())
	})
}

// An account whose last events are of a bucket that is over is cut until it keeps its
// share, minute by minute, although none is added.
func TestCutOfAnOldBucket(t *testing.T) {
	now := day0.Add(3 * span)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 1, 400, "acct_flood")
	all := l.w.sizes.total[ownerOf("acct_flood", true)]
	for range 10 {
		must(t, l.w.saveSizes())
		must(t, l.w.cutAccount(ownerOf("acct_flood", true), all/10, now))
		must(t, l.w.commit(0))
		counted(t, l)
		for a, at := range l.w.sizes.cut {
			if bucketOf(at) < bucketOf(nanos(now)) {
				delete(l.w.sizes.cut, a) // as shrinkAccounts does
			}
		}
		now = now.Add(trimEvery)
	}
	if n := l.w.sizes.total[ownerOf("acct_flood", true)]; n > all/10 {
		t.Errorf("%d of %d bytes left, and the share is %d", n, all, all/10)
	}
	go l.run()
	must(t, l.Close())
}

// Expired events leave the counts.
func TestSizesExpire(t *testing.T) {
	now := day0
	l := still(t, Config{Clock: func() time.Time { return now }, Retention: func(a store.AccountID) time.Duration {
		if a == "acct_a" {
			return 24 * time.Hour
		}
		return 48 * time.Hour
	}})
	fill(t, l, day0, 3, 20, "acct_a", "acct_b")
	for _, after := range []time.Duration{span, 24*time.Hour + 2*span, 60 * time.Hour} {
		now = day0.Add(after)
		must(t, l.w.trim(now))
		counted(t, l)
	}
	if n := len(l.w.sizes.total); n != 0 {
		t.Errorf("%d accounts have sizes, and no event is left", n)
	}
	go l.run()
	must(t, l.Close())
}

// Events of a version that did not count go first, the oldest of all accounts.
func TestEventsWithoutSizes(t *testing.T) {
	now := day0.Add(4 * span)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 4, 500, "acct_a", "acct_b")
	must(t, l.db.DeleteRange([]byte{rowSize}, []byte{rowSize + 1}, pebble.Sync))
	must(t, l.db.Delete(sinceRow, pebble.Sync))
	l.w.sizes = newSizes()
	must(t, l.w.loadSizes())
	if l.w.sizes.since != bucketOf(nanos(now))+1 {
		t.Errorf("counts since bucket %d, want the next", l.w.sizes.since)
	}
	fill(t, l, day0.Add(5*span), 4, 500, "acct_b")
	now = day0.Add(9 * span)
	l.cfg.MaxBytes = l.sizeOf(t, rowEvent) * 3 / 4
	must(t, l.w.trim(now))
	a, b := times(t, l, "acct_a"), times(t, l, "acct_b")
	if len(a) < 500 || len(a) > 1500 || len(b) != len(a)+2000 {
		t.Errorf("%d and %d events left, want the oldest buckets of both gone, and none that was counted", len(a), len(b))
	}
	go l.run()
	must(t, l.Close())
}

// A fair share fits the bound, gives all of it, and takes nothing from those below it.
func TestFairShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Uint64Range(0, 1000), 1, 20).Draw(t, "sizes")
		bound := rapid.Uint64Range(0, 8000).Draw(t, "bound")
		share := fairShare(append([]uint64(nil), list...), bound)
		var sum, all uint64
		for _, n := range list {
			sum += min(n, share)
			all += n
		}
		if sum > bound && all > bound || all <= bound && sum != all || all > bound && bound-sum >= uint64(len(list)) {
			t.Fatalf("%v within %d: share %d keeps %d", list, bound, share, sum)
		}
	})
}
