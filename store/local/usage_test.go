package local

import (
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

// A key's environment is looked up where no observation told it.
func TestEnvironmentOfKey(t *testing.T) {
	asked := 0
	l := open(t, Config{
		Clock:       func() time.Time { return day0.Add(2 * time.Hour) },
		Environment: func(k store.KeyID) string { asked++; return map[store.KeyID]string{"key_a": "staging"}[k] },
	})
	for i := range 3 {
		o := admitted(day0.Add(time.Duration(i)*time.Minute), "default", "key_a")
		o.Environment = ""
		l.Observe(o)
	}
	o := admitted(day0, "default", "key_a")
	o.Environment = "production"
	l.Observe(o)
	staging := "staging"
	rows, err := l.Usage(UsageQuery{Account: "default", Step: StepDay, Environment: &staging})
	if err != nil || len(rows) != 1 || rows[0].Requests != 3 {
		t.Errorf("filtered: %+v, %v", rows, err)
	}
	rows, err = l.Usage(UsageQuery{Account: "default", Step: StepMinute, GroupBy: ByEnvironment})
	if err != nil || len(rows) != 4 || rows[0].Group != "production" || rows[1].Group != "staging" {
		t.Errorf("grouped: %+v, %v", rows, err)
	}
	if asked != 2 {
		t.Errorf("asked %d times in two queries of one key", asked)
	}
}

// Sums hold at the largest int64, however large their parts.
func TestSumsDoNotWrap(t *testing.T) {
	for _, parts := range [][2]uint64{{math.MaxInt64, 1}, {math.MaxUint64, math.MaxUint64}, {1 << 63, 1 << 63}} {
		sum := tally{units: parts[0], cost: parts[0]}
		sum.add(tally{units: parts[1], cost: parts[1]})
		if sum.units != math.MaxInt64 || sum.cost != math.MaxInt64 {
			t.Errorf("%d: %+v", parts, sum)
		}
		if got := grow(math.MaxInt64-1, parts[1]); got != math.MaxInt64 && parts[1] > 0 {
			t.Errorf("a sum of %d and %d: %d", int64(math.MaxInt64-1), parts[1], got)
		}
	}
}

// Data of a version without totals is read by key, until the totals are complete.
func TestTotalsOfOlderData(t *testing.T) {
	fs := vfs.NewMem()
	now := day0.Add(12 * time.Hour)
	cfg := Config{FS: fs, Clock: func() time.Time { return now }}
	l := open(t, cfg)
	l.Observe(admitted(day0.Add(time.Hour), "default", "key_a"))
	must(t, l.Flush())
	// As it was before there were totals.
	must(t, l.db.Delete(totalsRow, pebble.Sync))
	must(t, l.db.DeleteRange([]byte{rowTotal}, []byte{rowTotal + 1}, pebble.Sync))
	must(t, l.Close())
	l = open(t, cfg)
	l.Observe(admitted(day0.Add(2*time.Hour), "default", "key_b"))
	count := func(from time.Time) (n int64, table byte) {
		q := UsageQuery{Account: "default", Step: StepHour, From: from, To: day0.AddDate(0, 0, 9)}
		rows, err := l.Usage(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			n += r.Requests
		}
		return n, l.table(&q)
	}
	if n, table := count(day0); n != 2 || table != rowUsage {
		t.Errorf("%d requests by rows of %c", n, table)
	}
	now = day0.AddDate(0, 0, 2)
	l.Observe(admitted(day0.Add(30*time.Hour), "default", "key_a"))
	if n, table := count(day0); n != 3 || table != rowUsage {
		t.Errorf("%d requests by rows of %c", n, table)
	}
	if n, table := count(day0.AddDate(0, 0, 1)); n != 1 || table != rowTotal {
		t.Errorf("since the totals: %d requests by rows of %c", n, table)
	}
	must(t, l.Close())
	l = open(t, cfg)
	if n, table := count(day0.AddDate(0, 0, 1)); n != 1 || table != rowTotal {
		t.Errorf("after a restart: %d requests by rows of %c", n, table)
	}
}
