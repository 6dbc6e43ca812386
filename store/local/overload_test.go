package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

// stalled is a Local without a running writer, with a small queue.
func stalled(t *testing.T, shard int) *Local {
	t.Helper()
	l := ticking(t, Config{Clock: func() time.Time { return day0.Add(24 * time.Hour) }})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := l.cfg
	l, err := prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.queue = newQueue(shard)
	l.w.spare = make([]byte, 0, shard)
	t.Cleanup(func() { l.Close() })
	return l
}

// While the writer stands still, requests lose their events before denials do,
// every loss is counted and told, and usage loses nothing.
func TestOverload(t *testing.T) {
	const requests, denials, keys = 3000, 3000, 50
	l := stalled(t, 8<<10)
	firstDenialLost := -1
	for i := range requests {
		l.Observe(admitted(day0, "default", store.KeyID(fmt.Sprintf("key_%d", i%keys))))
	}
	if l.Dropped() == 0 {
		t.Fatal("no overload: the test tests nothing")
	}
	lostRequests := l.Dropped()
	for i := range denials {
		l.Observe(denial(day0, "default", "requests_per_minute", 429))
		if firstDenialLost < 0 && l.Dropped() > lostRequests {
			firstDenialLost = i
		}
	}
	// A quarter of 64 KiB holds some 120 denials.
	if firstDenialLost < 60 {
		t.Errorf("denial %d was lost: no room had been kept", firstDenialLost)
	}
	lostDenials := l.Dropped() - lostRequests
	go l.run()

	got := map[store.Outcome]uint64{}
	var told struct {
		After struct{ Requests, Denials, Uncounted uint64 }
	}
	for _, e := range collect(t, l, store.EventQuery{}) {
		if e.Action != ActionDropped {
			got[e.Outcome]++
			continue
		}
		if e.Actor.Type != store.ActorSystem || e.Account != "" {
			t.Errorf("%+v", e)
		}
		if err := json.Unmarshal(e.Changes, &told); err != nil {
			t.Error(err)
		}
	}
	if got[store.Success]+lostRequests != requests || got[store.Denied]+lostDenials != denials {
		t.Errorf("kept %v, lost %d and %d", got, lostRequests, lostDenials)
	}
	if told.After.Requests != lostRequests || told.After.Denials != lostDenials || told.After.Uncounted != 0 {
		t.Errorf("told %+v, lost %d and %d", told, lostRequests, lostDenials)
	}
	rows, err := l.Usage(UsageQuery{Account: "default", Step: StepDay})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	if r := rows[0]; r.Requests != requests+denials || r.Denied != denials || r.Units != requests || r.Billable != requests {
		t.Errorf("usage %+v", r)
	}
	for i := range keys {
		if _, ok := l.LastUsed(store.KeyID(fmt.Sprintf("key_%d", i))); !ok {
			t.Errorf("last use of key %d is not known", i)
		}
	}
}

// The memory of the request path in an overload is bounded; beyond it the
// number of uncounted requests is known.
func TestOverloadOfManyKeys(t *testing.T) {
	const keys = maxRows + 5000
	l := stalled(t, 2<<10)
	for i := range keys {
		l.Observe(admitted(day0, "default", store.KeyID(fmt.Sprintf("key_%d", i))))
	}
	if n := len(l.spill.c.rows); n > maxRows {
		t.Errorf("%d rows held, bound %d", n, maxRows)
	}
	uncounted := int64(l.spill.loss.uncounted)
	if uncounted == 0 {
		t.Fatal("all counted: the test tests nothing")
	}
	go l.run()
	if got := total(t, l, StepHour); got+uncounted != keys {
		t.Errorf("%d counted, %d not, of %d", got, uncounted, keys)
	}
	var told struct{ After struct{ Uncounted int64 } }
	for _, e := range collect(t, l, store.EventQuery{Account: store.Operators, Action: ActionDropped}) {
		if err := json.Unmarshal(e.Changes, &told); err != nil {
			t.Error(err)
		}
	}
	if told.After.Uncounted != uncounted {
		t.Errorf("told %d, want %d", told.After.Uncounted, uncounted)
	}
}

// More rows in one minute than the writer's table holds are written early, and
// add up.
func TestManyKeysInOneMinute(t *testing.T) {
	const keys = 2*maxRows + 100
	l := ticking(t, Config{Requests: RequestsOff, Clock: func() time.Time { return day0.Add(time.Minute) }})
	twice := admitted(day0, "", "key_twice")
	l.Observe(twice)
	must(t, l.turn(false))
	twice.At = day0.Add(30 * time.Second) // within the minute: in memory only, until it falls out
	l.Observe(twice)
	must(t, l.turn(false))
	for round := range 2 {
		for i := range keys {
			l.Observe(admitted(day0, "default", store.KeyID(fmt.Sprintf("key_%d", i))))
			if i%5000 == 0 {
				if err := l.turn(false); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := len(l.last.young) + len(l.last.old); n > 2*maxRecent {
			t.Errorf("round %d: %d last uses in memory", round, n)
		}
	}
	if got := total(t, l, StepMinute); got != 2*keys {
		t.Errorf("%d counted, want %d", got, 2*keys)
	}
	if _, err := l.Usage(UsageQuery{Account: "default", Step: StepMinute, GroupBy: ByKey}); !errors.Is(err, ErrTooWide) {
		t.Errorf("65,636 groups: %v, want ErrTooWide", err)
	}
	if u, _ := l.LastUsed("key_twice"); !u.At.Equal(twice.At) {
		t.Errorf("fallen out of memory, last used %v, want %v", u.At, twice.At)
	}
	for _, i := range []int{0, keys / 2, keys - 1} { // fallen out of memory, and still there
		if u, ok := l.LastUsed(store.KeyID(fmt.Sprintf("key_%d", i))); !ok || !u.At.Equal(day0) {
			t.Errorf("key %d: %v %v", i, u, ok)
		}
	}
}
