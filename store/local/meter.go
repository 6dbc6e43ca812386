package local

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
	"github.com/perfgate/perfgate/store/pack"
)

// The bounds of the feed of usage.
const (
	// MaxMetered is how many events wait for the receiver at most, at some 300 bytes each: 30 MB.
	// Beyond it usage itself waits, for as long as minutes are kept.
	MaxMetered = 100_000
	meterBatch = 1 << 20
	// meteredLonger are minutes that rows about minutes are kept for after usage itself.
	meteredLonger = 24 * 60
)

// MeterEvent is what one key used in one minute on this node, since the event before it about
// the same minute and key: requests count in the minute in which they began, and may end late.
// The sum of all events is the usage.
type MeterEvent struct {
	// ID depends on the place of the event alone, so that an event that is made again after a
	// crash has the id that it had.
	ID       string          `json:"id"`
	Time     time.Time       `json:"time"` // the beginning of the minute
	Account  store.AccountID `json:"account"`
	Key      store.KeyID     `json:"key"`
	Live     bool            `json:"live,omitzero"`
	Requests uint64          `json:"requests,omitzero"`
	Denied   uint64          `json:"denied,omitzero"`
	Failed   uint64          `json:"failed,omitzero"`
	Units    uint64          `json:"units,omitzero"`
	Billable uint64          `json:"billable,omitzero"`
	Cost     uint64          `json:"cost,omitzero"` // as [store.Money]

	number uint64 // in the queue
}

// Number is the event's place in the queue.
func (e *MeterEvent) Number() uint64 { return e.number }

// touched are the minutes whose usage was written since the feed last looked.
type touched struct {
	mu      sync.Mutex // guards the rest
	on      bool
	minutes map[uint32]bool // as many as minutes are kept
}

func (t *touched) mark(minute uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.on {
		t.minutes[minute] = true
	}
}

// take removes the minutes before end, in order.
func (t *touched) take(end uint32) []uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.Sorted(maps.Keys(t.minutes))
	list = slices.DeleteFunc(list, func(m uint32) bool { return m >= end })
	for _, m := range list {
		delete(t.minutes, m)
	}
	return list
}

// Meter makes events of usage, and keeps them until they are taken. It is for one goroutine.
//
// What was made of a minute and key is kept beside the events, in one batch. Usage is on disk
// before an event is made of it, and an event before it is sent. So no crash can make usage
// smaller than what was sent, or give an id to two events.
type Meter struct {
	l     *Local
	since uint32 // no minute before it is metered
	next  uint64 // number of the next event
	count int    // of events that wait

	damaged uint64 // rows that were left out, since the start
}

var meterRow = []byte{rowOwn, 'f'}

// NewMeter opens the feed. Usage from before the first NewMeter is left out.
func NewMeter(l *Local) (*Meter, error) {
	m := &Meter{l: l, next: 1}
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("open the feed of usage: %w", err)
	}
	t := &l.touched
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on, t.minutes = true, make(map[uint32]bool)
	now := minuteOf(nanos(l.now()))
	for minute := max(m.since, m.kept()); minute <= now; minute++ { // a crash forgot which of them are new
		t.minutes[minute] = true
	}
	return m, nil
}

func (m *Meter) load() error {
	v, err := m.l.get(meterRow)
	if err != nil {
		return err
	}
	if v == nil {
		v = binary.BigEndian.AppendUint32(nil, minuteOf(nanos(m.l.now())))
		if err := m.l.db.Set(meterRow, v, pebble.Sync); err != nil {
			return err
		}
	}
	if len(v) != 4 {
		if v, err = m.firstMetered(); err != nil {
			return err
		}
		m.leaveOut("the first minute that is metered is not known any more; it is the first one of which an event was made", meterRow, nil)
		if err := m.l.db.Set(meterRow, v, pebble.Sync); err != nil {
			return err
		}
	}
	m.since = binary.BigEndian.Uint32(v)
	it, err := m.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowFeed}, UpperBound: []byte{rowFeed + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != 9 {
			if err := m.aside(it.Key(), it.Value()); err != nil {
				return errors.Join(err, it.Close())
			}
			continue
		}
		m.count++
		m.next = binary.BigEndian.Uint64(it.Key()[1:]) + 1
	}
	return errors.Join(it.Error(), it.Close())
}

// kept is the first minute of which usage is kept.
func (m *Meter) kept() uint32 {
	return minuteOf(nanos(m.l.now().Add(-steps[0].keep)))
}

// Waiting is how many events wait to be taken.
func (m *Meter) Waiting() int { return m.count }

// Roll makes events of the minutes that are over and have changed. It ends early where
// [MaxMetered] events wait, and goes on there the next time.
func (m *Meter) Roll() error {
	if m.count >= MaxMetered {
		return nil
	}
	if err := m.l.turn(false); err != nil { // it names the minutes
		return err
	}
	list := m.l.touched.take(minuteOf(nanos(m.l.now()))) // before the next turn, which brings all of their usage to disk
	done := 0
	defer func() {
		for _, again := range list[done:] {
			m.l.touched.mark(again)
		}
	}()
	if err := m.l.turn(true); err != nil {
		return err
	}
	if err := m.l.enter(); err != nil {
		return err
	}
	defer m.l.leave()
	b := m.l.db.NewBatch()
	defer func() { b.Close() }()
	kept := m.kept()
	// What was made of a minute is known for longer than the minute: it is never made again.
	old := binary.BigEndian.AppendUint32([]byte{rowMetered}, kept-min(kept, meteredLonger))
	if err := b.DeleteRange([]byte{rowMetered}, old, nil); err != nil {
		return err
	}
	full, n := false, 0
	for n < len(list) && !full {
		if list[n] >= max(m.since, kept) {
			var err error
			if full, err = m.minute(&b, list[n]); err != nil {
				return err
			}
		}
		if !full {
			n++
		}
	}
	if err := m.commit(&b, 0); err != nil {
		return err
	}
	done = n
	return nil
}

func (m *Meter) commit(b **pebble.Batch, bound int) error {
	if (*b).Empty() || (*b).Len() < bound {
		return nil
	}
	err := (*b).Commit(pebble.Sync)
	err = errors.Join(err, (*b).Close())
	*b = m.l.db.NewBatch()
	if err != nil {
		return fmt.Errorf("keep events of usage: %w", err)
	}
	return nil
}

// minute makes the events of one minute; full says that there is no room for all of them.
func (m *Meter) minute(b **pebble.Batch, minute uint32) (full bool, err error) {
	it, err := m.l.db.NewIter(&pebble.IterOptions{LowerBound: slotKey(rowUsage, steps[0].code, minute), UpperBound: slotKey(rowUsage, steps[0].code, minute+1)})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var sums [2]*MeterEvent // of the key at hand: test and live
	flush := func() error {
		for i, e := range sums {
			if e == nil {
				continue
			}
			sums[i] = nil
			if err := m.add(*b, minute, e); err != nil {
				return err
			}
		}
		return m.commit(b, meterBatch)
	}
	var account, key string
	for ok := it.First(); ok; ok = it.Next() {
		r, parsed := parseRow(it.Key()[6:])
		t, err := parseTally(it.Value())
		if !parsed || err != nil {
			m.leaveOut("a row of usage is damaged and is not metered; count it by hand", it.Key(), it.Value())
			continue
		}
		if len(r.account) == 0 || len(r.key) == 0 {
			continue // refused, with a credential that names no key: nobody pays for it
		}
		if string(r.account) != account || string(r.key) != key {
			if err := flush(); err != nil {
				return false, err
			}
			if m.count >= MaxMetered {
				return true, nil
			}
			account, key = string(r.account), string(r.key)
		}
		kind := 0
		if r.live() {
			kind = 1
		}
		if sums[kind] == nil {
			sums[kind] = &MeterEvent{Account: store.AccountID(account), Key: store.KeyID(key), Live: r.live()}
		}
		sums[kind].count(&r, t)
	}
	return false, errors.Join(flush(), it.Error())
}

// count adds a row of usage, as [UsageRow] does.
func (e *MeterEvent) count(r *usageRow, t tally) {
	e.Requests, e.Denied = plus(e.Requests, t.requests), plus(e.Denied, t.denied)
	e.Units, e.Cost = plus(e.Units, t.units), plus(e.Cost, t.cost)
	switch {
	case r.marks&markFailed != 0:
		e.Failed = plus(e.Failed, t.requests)
	case r.live():
		e.Billable = plus(e.Billable, t.units)
	}
}

func (e *MeterEvent) figures() [6]*uint64 {
	return [...]*uint64{&e.Requests, &e.Denied, &e.Failed, &e.Units, &e.Billable, &e.Cost}
}

// add queues what sum has more than all events of its minute and key before; sum is no event
// without more.
func (m *Meter) add(b *pebble.Batch, minute uint32, sum *MeterEvent) error {
	row := appendName(appendName(binary.BigEndian.AppendUint32([]byte{rowMetered}, minute), sum.Account), sum.Key)
	if row = append(row, 0); sum.Live {
		row[len(row)-1] = 1
	}
	v, err := m.l.get(row)
	if err != nil {
		return err
	}
	p, n := pack.NewReader(v), uint64(0)
	if v != nil {
		n = p.Uvarint()
	}
	out, more := *sum, false
	value := binary.AppendUvarint(nil, n+1)
	for _, f := range out.figures() {
		before := uint64(0)
		if v != nil {
			before = p.Uvarint()
		}
		value = binary.AppendUvarint(value, max(*f, before))
		*f -= min(*f, before) // usage that was erased is smaller
		more = more || *f > 0
	}
	if v != nil && (p.Bad() || len(p.Rest()) != 0) {
		m.leaveOut("the row that says how much of a minute and key was metered is damaged, so no more of them is; count it by hand", row, v)
		return nil
	}
	if !more {
		return nil
	}
	out.Time = at(uint64(minute) * uint64(time.Minute))
	out.ID = meterID(m.l.prefix, row, n)
	raw, err := json.Marshal(&out)
	if err != nil {
		return err
	}
	if err := errors.Join(b.Set(row, value, nil), b.Set(feedRow(m.next), raw, nil)); err != nil {
		return err
	}
	m.next++
	m.count++
	return nil
}

// meterID names the event n of a minute and key. It holds the name of the database, since another
// one in its place begins to count again.
func meterID(prefix string, row []byte, n uint64) string {
	h := sha256.New()
	h.Write(append(append([]byte(prefix), 0), row...))
	h.Write(binary.BigEndian.AppendUint64(nil, n))
	sum := h.Sum(nil)
	id := ids.Append([]byte("use_"), binary.BigEndian.Uint64(sum), ids.Uint64Len)
	return string(ids.Append(id, binary.BigEndian.Uint64(sum[8:]), ids.Uint64Len))
}

func feedRow(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{rowFeed}, n) }

// Next lists the first events that wait, up to most.
func (m *Meter) Next(most int) (list []MeterEvent, err error) {
	if err := m.l.enter(); err != nil {
		return nil, err
	}
	defer m.l.leave()
	it, err := m.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowFeed}, UpperBound: []byte{rowFeed + 1}})
	if err != nil {
		return nil, fmt.Errorf("read events of usage: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && len(list) < most; ok = it.Next() {
		var e MeterEvent
		if err := json.Unmarshal(it.Value(), &e); err != nil || len(it.Key()) != 9 {
			if err := m.aside(it.Key(), it.Value()); err != nil {
				return nil, err
			}
			if len(it.Key()) == 9 {
				m.count--
			}
			continue
		}
		e.number = binary.BigEndian.Uint64(it.Key()[1:])
		list = append(list, e)
	}
	return list, it.Error()
}

// Taken removes the given events, which Next listed: the receiver has them. A crash may bring back
// those of the last second.
func (m *Meter) Taken(list []MeterEvent) error {
	if len(list) == 0 {
		return nil
	}
	if err := m.l.enter(); err != nil {
		return err
	}
	defer m.l.leave()
	if err := m.l.db.DeleteRange(feedRow(list[0].number), feedRow(list[len(list)-1].number+1), pebble.NoSync); err != nil {
		return fmt.Errorf("remove events of usage that were taken: %w", err)
	}
	m.l.unsynced.Store(true)
	m.count -= len(list)
	return nil
}
