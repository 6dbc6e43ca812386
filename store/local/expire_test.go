package local

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/logtest"
)

// Trimming, restarts and new events in any order leave what a list of all events says:
// those within their account's retention, and none that is a span older.
func TestTrimLikeList(t *testing.T) {
	accounts := []store.AccountID{"", "default", "acct_a", "acct_bb"}
	rapid.Check(t, func(t *rapid.T) {
		keep := map[store.AccountID]time.Duration{}
		now := day0
		cfg := Config{
			FS: vfs.NewMem(), Dir: "data/local", Node: "n", Logger: quiet(), stamp: asObserved, whole: 1 << 30,
			Clock:     func() time.Time { return now },
			Retention: func(a store.AccountID) time.Duration { return keep[a] },
		}
		l, err := prepare(cfg)
		if err != nil {
			t.Fatal(err)
		}
		have := map[store.AccountID][]time.Time{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				for range rapid.IntRange(1, 20).Draw(t, "events") {
					a := rapid.SampledFrom(accounts).Draw(t, "account")
					at := now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "minutes ago")) * time.Minute)
					l.Observe(denial(at, a, "invalid_key", 401))
					have[a] = append(have[a], at)
				}
			case 2:
				a := rapid.SampledFrom(accounts[1:]).Draw(t, "account")
				keep[a] = time.Duration(rapid.IntRange(0, 30).Draw(t, "retention")) * time.Hour // 0 is the default
			case 3:
				err = errors.Join(l.w.finish(), l.db.Close(), l.dir.lock.Close())
				if err == nil {
					l, err = prepare(cfg)
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "hours")) * time.Hour)
			if err = errors.Join(err, l.w.write(true, false), l.w.trim(now)); err != nil {
				t.Fatal(err)
			}
			for _, a := range accounts {
				d := keep[a]
				if a == "" {
					d = keep[store.DefaultAccount]
				}
				if d == 0 {
					d = defaultRetention
				}
				left := have[a][:0]
				for _, at := range have[a] {
					if bucketOf(nanos(at)) >= bucketOf(nanos(now.Add(-d))) {
						left = append(left, at)
					}
				}
				have[a] = left
			}
			checkAccounts(t, l, have)
		}
		if err := errors.Join(l.w.batch.Close(), l.db.Close(), l.dir.lock.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// checkAccounts compares the number of each account's events, and that nothing but the
// accounts with events is counted.
func checkAccounts(t *rapid.T, l *Local, have map[store.AccountID][]time.Time) {
	snap := l.db.NewSnapshot()
	defer snap.Close()
	r, err := l.newReader(snap, store.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[store.AccountID]int{}
	err = r.stream(func(e *store.Event, err error) bool {
		got[e.Account]++
		return err == nil
	})
	if err := errors.Join(err, r.close()); err != nil {
		t.Fatal(err)
	}
	for a, at := range have {
		if got[a] != len(at) {
			t.Fatalf("%d events of %q are left, want %d", got[a], a, len(at))
		}
		if _, counted := l.w.sizes.total[ownerOf(a, true)]; counted != (a != "" && len(at) > 0) {
			t.Fatalf("the bytes of %q are counted: %v, and it has %d events", a, counted, len(at))
		}
	}
}

// Refusals without an account that are too many within ten minutes lose their older
// half, once for each passing of half that time; no account loses any.
func TestFloodWithoutAccountInOneBucket(t *testing.T) {
	now := day0.Add(span - time.Second)
	l := still(t, Config{Clock: func() time.Time { return now }})
	fill(t, l, day0, 1, 40, "acct_a")
	fill(t, l, day0, 1, 4000, "")
	l.cfg.MaxBytes = l.sizeOf(t, rowStray) * 2 // a quarter of it is half of what there is
	strays := func() []time.Time { return times(t, l, "") }
	must(t, l.w.trim(now))
	once := strays()
	if len(once) < 1900+40 || len(once) > 2100+40 {
		t.Errorf("%d of 4,040 events left, want half of the 4,000", len(once))
	}
	must(t, l.w.trim(now.Add(time.Second)))
	if again := len(strays()); again < len(once)/2 || again > len(once) {
		t.Errorf("%d events left, then %d", len(once), again)
	}
	before := len(strays())
	must(t, l.w.halve(bucketOf(nanos(day0)))) // too early: less than two minutes are left of the rest
	must(t, l.w.halve(bucketOf(nanos(day0))))
	must(t, l.w.halve(bucketOf(nanos(day0))))
	settled := len(strays())
	must(t, l.w.halve(bucketOf(nanos(day0))))
	if n := len(strays()); n != settled || n > before || n < 40+200 {
		t.Errorf("%d events left, then %d and %d: the newest two minutes stay", before, settled, n)
	}
	if n := len(times(t, l, "acct_a")); n != 40 {
		t.Errorf("%d of the account's 40 events left", n)
	}
	go l.run()
	must(t, l.Close())
}

// What finds the queue full is counted beside it exactly, by row, until there are too
// many rows; each drain gives it once.
func TestSpillLikeAddingUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSpill(func(netip.Addr) Country { return Country{} })
		for range 3 {
			want, lost := map[string]tally{}, loss{}
			used := map[store.KeyID]LastUse{}
			for range rapid.IntRange(0, 30).Draw(t, "requests") {
				o := drawObservation(t)
				flags := byte(rapid.IntRange(0, 15).Draw(t, "flags"))
				s.take(o, nanos(o.At), flags)
				if flags&recEvent != 0 && flags&recDenied != 0 {
					lost.denials++
				} else if flags&recEvent != 0 {
					lost.requests++
				}
				if flags&recUsed != 0 {
					used[o.user()] = LastUse{At: o.At, IP: o.Client, Country: CountryOf(o.Country)}
				}
				if flags&recCounted != 0 {
					row := fmt.Sprint(o.At.Unix()/60, o.Account, o.Key, o.Type == store.Live, o.Environment, o.Status, o.Route, CountryOf(o.Country), modelMethod(o), o.failed())
					sum := want[row]
					sum.add(tallyOf(o.Status, o.Code != "", uint64(o.Units), uint64(o.Cost)))
					want[row] = sum
				}
			}
			rows, last, l := s.drain()
			got := map[string]tally{}
			for key, sum := range rows {
				r, ok := parseRow([]byte(key[4:]))
				if !ok {
					t.Fatalf("row %x", key)
				}
				minute := key[:4]
				n := int64(minute[0])<<24 | int64(minute[1])<<16 | int64(minute[2])<<8 | int64(minute[3])
				got[fmt.Sprint(n, store.AccountID(r.account), store.KeyID(r.key), r.live(), string(r.env), r.status, string(r.route), r.country, r.methodName(), r.marks&markFailed != 0)] = *sum
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(last) != fmt.Sprint(used) || l != lost {
				t.Fatalf("rows %v, want %v; uses %v, want %v; lost %+v, want %+v", got, want, last, used, l, lost)
			}
		}
	})
}

// The writer is woken by a shard that becomes half full, once, and not before.
func TestQueueWakesWriter(t *testing.T) {
	q := newQueue(4 << 10)
	o := admitted(day0, "default", "key_a")
	half := func() (some bool) {
		for i := range q.shards {
			some = some || len(q.shards[i].buf) >= q.size/2
		}
		return some
	}
	for i := range 10_000 {
		if woken := len(q.wake) == 1; woken != half() {
			t.Fatalf("after %d records: woken %v, a shard is half full: %v", i, woken, half())
		}
		if half() {
			break
		}
		q.push(o, 1, recEvent)
	}
	<-q.wake
	q.close()
	if q.push(o, 1, recEvent) || q.push(denial(day0, "acct_x", "key_revoked", 401), 1, recEvent|recDenied) {
		t.Error("a closed queue took a record")
	}
}

// A setting that does not exist is an error at the start, and so is an unknown step or
// group in a query; neither has an effect.
func TestUnknownNames(t *testing.T) {
	_, err := Open(Config{FS: vfs.NewMem(), Dir: "data/local", Logger: quiet(), Requests: "some"})
	if err == nil || !strings.Contains(err.Error(), `"some"`) {
		t.Errorf("audit.requests: %v", err)
	}
	l := open(t, Config{})
	for _, q := range []UsageQuery{{Step: "week"}, {}, {Step: StepDay, GroupBy: "colour"}} {
		if rows, err := l.Usage(q); err == nil || rows != nil {
			t.Errorf("%+v: %v, %v", q, rows, err)
		}
	}
}

// A request that does not state its time has the clock's.
func TestTimeOfClock(t *testing.T) {
	l := open(t, Config{Clock: func() time.Time { return day0.Add(time.Hour) }})
	l.Observe(admitted(time.Time{}, "default", "key_a"))
	got := collect(t, l, store.EventQuery{})
	if len(got) != 1 || !got[0].Time.Equal(day0.Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
	if u, ok := l.LastUsed("key_a"); !ok || !u.At.Equal(day0.Add(time.Hour)) || u.IP != netip.MustParseAddr("203.0.113.7") {
		t.Errorf("last use %v, %v", u, ok)
	}
}

// Without Fatal, a failed disk is logged once; a mark is then not acknowledged.
func TestDiskFailsWithoutFatal(t *testing.T) {
	var failing atomic.Bool
	broken := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && path.Ext(op.Path) == ".log" {
			return errors.New("input/output error")
		}
		return nil
	})
	h := &logtest.Log{}
	l := ticking(t, Config{FS: errorfs.Wrap(vfs.NewMem(), broken), Logger: slog.New(slog.NewTextHandler(h, nil))})
	must(t, l.SetMark("boot", []byte("7"), true))
	failing.Store(true)
	l.Observe(admitted(day0, "default", "key_a"))
	if err := l.Flush(); err == nil {
		t.Error("Flush answered although nothing was written")
	}
	wait(t, "the failure to be logged", func() bool { return h.Has("disk failed") })
	if err := l.Close(); !errors.Is(err, errBroken) {
		t.Errorf("Close: %v", err)
	}
}
