package local

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

// receiver takes events of usage, each once by its id.
type receiver struct {
	seen map[string]MeterEvent
	sum  map[store.KeyID]MeterEvent
}

func newReceiver() *receiver {
	return &receiver{seen: map[string]MeterEvent{}, sum: map[store.KeyID]MeterEvent{}}
}

func (r *receiver) take(t *testing.T, list []MeterEvent) {
	t.Helper()
	for _, e := range list {
		e.number = 0
		if have, ok := r.seen[e.ID]; ok {
			if have != e {
				t.Errorf("the id of %+v stands for %+v, too", have, e)
			}
			continue
		}
		r.seen[e.ID] = e
		all := r.sum[e.Key]
		for i, f := range all.figures() {
			*f += *e.figures()[i]
		}
		r.sum[e.Key] = all
	}
}

// check compares the sum of all events with the usage of each key.
func (r *receiver) check(t *testing.T, l *Local, account store.AccountID) {
	t.Helper()
	rows, err := l.Usage(UsageQuery{Account: account, Step: StepDay, GroupBy: ByKey})
	must(t, err)
	n := 0
	for _, u := range rows {
		if u.Group == "" {
			continue
		}
		n++
		e := r.sum[store.KeyID(u.Group)]
		if int64(e.Requests) != u.Requests || int64(e.Denied) != u.Denied || int64(e.Failed) != u.Failed || int64(e.Units) != u.Units || int64(e.Billable) != u.Billable || store.Money(e.Cost) != u.Cost {
			t.Errorf("%s: the receiver has %+v, usage is %+v", u.Group, e, u)
		}
	}
	if n != len(r.sum) {
		t.Errorf("the receiver has %d keys, usage %d", len(r.sum), n)
	}
}

// The sum of what a receiver gets, each event once by its id, is the usage: over requests that end
// late, lost answers, restarts, and power losses with any part of what was not synced.
func TestMeterOverPowerLosses(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 7))
	var clock atomic.Int64
	clock.Store(day0.Add(time.Hour).UnixNano())
	now := func() time.Time { return time.Unix(0, clock.Load()).UTC() }
	fs := crashable(t)
	r := newReceiver()
	for round := range 30 {
		l := open(t, Config{FS: fs, Clock: now})
		m, err := NewMeter(l)
		must(t, err)
		for range rng.IntN(8) {
			for range rng.IntN(40) {
				at := now().Add(-time.Duration(rng.Int64N(int64(5 * time.Minute))))
				if at.Before(day0.Add(time.Hour)) {
					at = now()
				}
				o := admitted(at, "default", store.KeyID([]string{"key_a", "key_b", "key_c"}[rng.IntN(3)]))
				o.Cost = store.Money(rng.IntN(1000))
				switch rng.IntN(6) {
				case 0:
					o.Type = store.Test
				case 1:
					o.Status, o.Code, o.Units = 429, "requests_per_minute", 0
				case 2:
					o.Status, o.Code = 502, "upstream_down"
				case 3:
					o = denial(at, "", "invalid_key", 401)
				}
				l.Observe(o)
			}
			clock.Add(rng.Int64N(int64(2 * time.Minute)))
			must(t, m.Roll())
			list, err := m.Next(1 + rng.IntN(20))
			must(t, err)
			if rng.IntN(4) > 0 { // else the receiver is away
				r.take(t, list)
				if rng.IntN(4) > 0 { // else its answer is lost
					must(t, m.Taken(list))
				}
			}
		}
		if round%3 == 0 {
			must(t, l.Close())
			continue
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		_ = l.Close()
	}
	l := ticking(t, Config{FS: fs, Clock: now})
	m, err := NewMeter(l)
	must(t, err)
	clock.Add(int64(2 * time.Minute))
	must(t, m.Roll())
	for {
		list, err := m.Next(100)
		must(t, err)
		if len(list) == 0 {
			break
		}
		r.take(t, list)
		must(t, m.Taken(list))
	}
	r.check(t, l, "default")
	if m.Waiting() != 0 || len(r.seen) < 50 {
		t.Errorf("%d events wait, %d were taken", m.Waiting(), len(r.seen))
	}
}

// A minute is not metered before it is over, nor is usage from before the feed began; a queue that
// is full loses nothing.
func TestMeterBounds(t *testing.T) {
	var clock atomic.Int64
	clock.Store(day0.UnixNano())
	l := ticking(t, Config{Clock: func() time.Time { return time.Unix(0, clock.Load()).UTC() }})
	l.Observe(admitted(day0.Add(-time.Minute), "default", "key_before"))
	m, err := NewMeter(l)
	must(t, err)
	l.Observe(admitted(day0, "default", "key_a"))
	l.Observe(admitted(day0, "default", "key_b"))
	must(t, m.Roll())
	if m.Waiting() != 0 {
		t.Errorf("%d events of a minute that goes on", m.Waiting())
	}
	clock.Add(int64(time.Minute))
	m.count = MaxMetered - 1
	must(t, m.Roll())
	list, err := m.Next(10)
	must(t, err)
	if len(list) != 1 || list[0].Key != "key_a" || !list[0].Time.Equal(day0) || list[0].Billable != 1 {
		t.Errorf("a queue with room for one has %+v", list)
	}
	must(t, m.Roll())
	must(t, m.Taken(list))
	must(t, m.Roll())
	if list, err = m.Next(10); err != nil || len(list) != 1 || list[0].Key != "key_b" {
		t.Errorf("once there is room: %+v, %v", list, err)
	}
	// Nothing is left of an account that was erased, and nothing negative is sent.
	must(t, Erase(l, Erasure{Account: "default", Key: func(store.KeyID) bool { return true }, Note: func([]byte) bool { return true }}))
	l.Observe(admitted(day0.Add(time.Minute), "default", "key_a"))
	clock.Add(int64(time.Minute))
	must(t, m.Taken(list))
	m.count = 0
	must(t, m.Roll())
	if list, err = m.Next(10); err != nil || len(list) != 1 || list[0].Requests != 1 {
		t.Errorf("after an erasure: %+v, %v", list, err)
	}
}

// A damaged row of usage, of an event or of what was metered is left out and counted; all other
// events are sent.
func TestMeterLeavesDamagedRowsOut(t *testing.T) {
	var clock atomic.Int64
	clock.Store(day0.UnixNano())
	fs := vfs.NewMem()
	l := ticking(t, Config{FS: fs, Clock: func() time.Time { return time.Unix(0, clock.Load()).UTC() }})
	m, err := NewMeter(l)
	must(t, err)
	use := func(at time.Time, keys ...store.KeyID) {
		for _, k := range keys {
			l.Observe(admitted(at, "default", k))
		}
	}
	use(day0, "key_a", "key_b", "key_c")
	clock.Add(int64(time.Minute))
	must(t, m.Roll())
	must(t, l.db.Set(feedRow(2), []byte("{"), nil)) // the event of key_b
	must(t, l.db.Set([]byte{rowFeed, 7}, nil, nil))
	list, err := m.Next(10)
	if err != nil || len(list) != 2 || list[0].Key != "key_a" || list[1].Key != "key_c" || m.Damaged() != 2 || m.Waiting() != 2 {
		t.Fatalf("%+v, %v; %d are damaged, %d wait", list, err, m.Damaged(), m.Waiting())
	}
	must(t, m.Taken(list))
	row := appendName(appendName(binary.BigEndian.AppendUint32([]byte{rowMetered}, minuteOf(nanos(day0))), "default"), "key_a")
	must(t, l.db.Set(append(row, 1), []byte{0xff}, nil))
	use(day0, "key_a", "key_c") // late
	use(day0.Add(time.Minute), "key_d", "key_e")
	must(t, l.turn(true))
	must(t, l.db.Set(append(slotKey(rowUsage, steps[0].code, minuteOf(nanos(day0))+1), 0xff), []byte{0xff}, nil))
	clock.Add(int64(2 * time.Minute))
	must(t, m.Roll())
	var keys []store.KeyID
	list, err = m.Next(10)
	for _, e := range list {
		keys = append(keys, e.Key)
	}
	if err != nil || len(keys) != 3 || keys[0] != "key_c" || m.Damaged() != 4 {
		t.Errorf("%q, %v; %d are damaged", keys, err, m.Damaged())
	}
	must(t, m.Taken(list))
	must(t, Erase(l, Erasure{Account: "other", Key: func(store.KeyID) bool { return false }, Note: func([]byte) bool { return false }}))
	if v, err := l.get(append(append([]byte{}, asideRow...), feedRow(2)...)); err != nil || v != nil {
		t.Errorf("after an erasure, the event that is aside: %q, %v", v, err)
	}
	// Without the minute at which the feed began, it goes on from the first that was metered.
	must(t, l.db.Set(meterRow, []byte{1}, nil))
	if m, err = NewMeter(l); err != nil || m.since != minuteOf(nanos(day0)) || m.Damaged() != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}
