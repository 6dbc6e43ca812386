package local

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
)

// defaultRetention is how long events are kept where nothing else is said.
const defaultRetention = 30 * 24 * time.Hour

func (l *Local) retention(account store.AccountID) time.Duration {
	if account == "" {
		account = store.DefaultAccount // refusals without a key are the operator's
	}
	if l.cfg.Retention != nil {
		if d := l.cfg.Retention(account); d > 0 {
			return d
		}
	}
	return defaultRetention
}

// trim removes what is older than its retention, then the oldest events beyond
// the size bound. Whole ranges go, by one tombstone each.
func (w *writer) trim(now time.Time) error {
	if err := w.expire(now); err != nil {
		return fmt.Errorf("remove expired events: %w", err)
	}
	for _, s := range steps {
		end := uint32(nanos(now.Add(-s.keep)) / (uint64(s.minutes) * uint64(time.Minute)))
		if err := w.remove(slotKey(s.code, 0), slotKey(s.code, end)); err != nil {
			return fmt.Errorf("remove expired usage: %w", err)
		}
	}
	if err := w.shrink(); err != nil {
		return fmt.Errorf("keep audit events below audit.max_bytes: %w", err)
	}
	return w.commit(0)
}

// remove deletes [from, to) if there is anything: tombstones of nothing would
// pile up minute by minute.
func (w *writer) remove(from, to []byte) error {
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	some := it.First()
	if err := it.Close(); err != nil || !some {
		return err
	}
	return w.batch.DeleteRange(from, to, nil)
}

// expire removes the buckets that have passed out of their account's retention
// whole, so that events go at most one span late.
func (w *writer) expire(now time.Time) error {
	if len(w.oldest) == 0 {
		return nil
	}
	// What every account has outlived goes at once.
	common := ^uint32(0)
	ends := make(map[store.AccountID]uint32, len(w.oldest))
	for a := range w.oldest {
		ends[a] = bucketOf(nanos(now.Add(-w.l.retention(a))))
		common = min(common, ends[a])
	}
	if err := w.remove(bucketKey(nil, 0), bucketKey(nil, common)); err != nil {
		return err
	}
	for a, end := range ends {
		if w.oldest[a] >= end {
			continue
		}
		if err := w.expireAccount(a, max(w.oldest[a], common), end); err != nil {
			return err
		}
		if err := w.setOldest(a, end); err != nil {
			return err
		}
	}
	return w.commit(0)
}

// expireAccount removes one account's events of the buckets [b, end).
func (w *writer) expireAccount(a store.AccountID, b, end uint32) error {
	if b >= end {
		return nil
	}
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: bucketKey(nil, b), UpperBound: bucketKey(nil, end)})
	if err != nil {
		return err
	}
	defer it.Close()
	for b < end {
		prefix := accountPrefix(nil, b, a)
		if !it.SeekGE(prefix) {
			break
		}
		if bytes.HasPrefix(it.Key(), prefix) {
			if err := w.batch.DeleteRange(prefix, behind(prefix), nil); err != nil {
				return err
			}
			b++
			continue
		}
		b = max(b+1, binary.BigEndian.Uint32(it.Key()[1:]))
	}
	return it.Error()
}

// behind is a key behind every event of an account's prefix in a bucket.
func behind(prefix []byte) []byte {
	return append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 17)...)
}

// shrink removes the oldest buckets until the rest is estimated to be within
// the bound. What is removed is measured before: Pebble frees it later.
func (w *writer) shrink() error {
	first, last, err := w.bounds()
	if err != nil || first == nil {
		return err
	}
	end := []byte{rowEvent + 1}
	size, err := w.l.db.EstimateDiskUsage(first, end)
	if err != nil {
		return err
	}
	bound := uint64(max(w.l.cfg.MaxBytes, 1))
	if size <= bound {
		return nil
	}
	b := binary.BigEndian.Uint32(first[1:])
	newest := binary.BigEndian.Uint32(last[1:])
	from := b
	for size > bound && b < newest {
		b++
		if size, err = w.l.db.EstimateDiskUsage(bucketKey(nil, b), end); err != nil {
			return err
		}
	}
	if b > from {
		w.l.log.Warn("audit events removed before their time: audit.max_bytes is reached",
			"max_bytes", bound, "before", at(uint64(b)*uint64(span)))
		if err := w.remove(bucketKey(nil, from), bucketKey(nil, b)); err != nil {
			return err
		}
	}
	if size <= bound {
		return w.commit(0)
	}
	return w.halve(newest)
}

// halve removes the older half of what the newest bucket alone still holds, by
// time; the next minute halves again if that was not enough.
func (w *writer) halve(b uint32) error {
	start, stop := uint64(b)*uint64(span), min(uint64(b+1)*uint64(span), nanos(w.l.now()))
	start = max(start, min(w.cut, stop))
	w.cut = start + (stop-start)/2
	w.l.log.Warn("audit events removed before their time: audit.max_bytes is less than ten minutes of events",
		"max_bytes", w.l.cfg.MaxBytes, "before", at(w.cut))
	for a := range w.oldest {
		prefix := accountPrefix(nil, b, a)
		if err := w.remove(prefix, binary.BigEndian.AppendUint64(bytes.Clone(prefix), w.cut)); err != nil {
			return err
		}
	}
	return w.commit(0)
}

// bounds are the first and the last event's key; nil if there is none.
func (w *writer) bounds() (first, last []byte, err error) {
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowEvent}, UpperBound: []byte{rowEvent + 1}})
	if err != nil {
		return nil, nil, err
	}
	defer it.Close()
	if it.First() {
		first = bytes.Clone(it.Key())
		it.Last()
		last = bytes.Clone(it.Key())
	}
	return first, last, it.Error()
}
