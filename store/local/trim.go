package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
)

// defaultRetention is how long events are kept of an account that does not exist.
const defaultRetention = store.DefaultRetention * 24 * time.Hour

func (w *writer) retention(of owner) time.Duration {
	account := of.account()
	if account == "" {
		account = store.DefaultAccount // refusals without a key are the operator's
	}
	if w.l.cfg.Retention != nil {
		if d := w.l.cfg.Retention(account); d > 0 {
			return d
		}
	}
	return defaultRetention
}

// aged is the time by which data is too old: never later than now.
func (w *writer) aged(now time.Time) time.Time {
	if w.l.cfg.Aged != nil {
		if t := w.l.cfg.Aged(); t.Before(now) {
			return t
		}
	}
	return now
}

// trim removes the events older than their retention, then the oldest events beyond
// the size bound. Whole ranges go, by one tombstone each.
func (w *writer) trim(now time.Time) error {
	aged := w.aged(now)
	if err := w.expire(aged); err != nil {
		return fmt.Errorf("remove expired events: %w", err)
	}
	for _, s := range steps {
		end := uint32(nanos(aged.Add(-s.keep)) / (uint64(s.minutes) * uint64(time.Minute)))
		for _, row := range []byte{rowUsage, rowTotal} {
			if err := w.remove(slotKey(row, s.code, 0), slotKey(row, s.code, end)); err != nil {
				return fmt.Errorf("remove expired usage: %w", err)
			}
		}
	}
	if err := w.remove(failuresUntil(aged.Add(-failureKeep))); err != nil {
		return fmt.Errorf("remove expired failures: %w", err)
	}
	notes, err := w.l.Notes().expired(aged.Add(-noteKeep))
	if err == nil {
		err = w.remove([]byte{rowNote}, notes)
	}
	if err != nil {
		return fmt.Errorf("remove expired findings: %w", err)
	}
	if err := w.shrink(now); err != nil {
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
	return w.removeAll(from, to)
}

// removeAll deletes [from, to), and with events their segments.
func (w *writer) removeAll(from, to []byte) error {
	if from[0] == rowEvent || from[0] == rowStray {
		if err := w.batch.DeleteRange(sealsOf(from), sealsOf(to), nil); err != nil {
			return err
		}
	}
	return w.batch.DeleteRange(from, to, nil)
}

// expire removes the buckets that have passed out of their account's retention
// whole, so that events go at most one span late.
func (w *writer) expire(now time.Time) error {
	if len(w.oldest) == 0 {
		return nil
	}
	// Buckets older than every account's retention go at once.
	common := ^uint32(0)
	ends := make(map[owner]uint32, len(w.oldest))
	for a := range w.oldest {
		ends[a] = bucketOf(nanos(now.Add(-w.retention(a))))
		common = min(common, ends[a])
	}
	for _, row := range []byte{rowStray, rowEvent} {
		if err := w.remove(bucketKey(nil, row, 0), bucketKey(nil, row, common)); err != nil {
			return err
		}
	}
	for a, end := range ends {
		if w.oldest[a] >= end {
			continue
		}
		if err := w.expireAccount(a, max(w.oldest[a], common), end); err != nil {
			return err
		}
		if err := errors.Join(w.forget(a, end), w.setOldest(a, end), w.gone(a, uint64(end)*uint64(span))); err != nil {
			return err
		}
	}
	return w.commit(0)
}

// expireAccount removes one account's events of the buckets [b, end).
func (w *writer) expireAccount(a owner, b, end uint32) error {
	if b >= end {
		return nil
	}
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: bucketKey(nil, rowOf(a), b), UpperBound: bucketKey(nil, rowOf(a), end)})
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
			if err := w.removeAll(prefix, prefixEnd(prefix)); err != nil {
				return err
			}
			b++
			continue
		}
		b = max(b+1, binary.BigEndian.Uint32(it.Key()[1:]))
	}
	return it.Error()
}

// prefixEnd is a key after every event of an account's prefix in a bucket.
func prefixEnd(prefix []byte) []byte {
	return append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 17)...)
}

// shrink holds the events to the size bound: those of no account to a quarter
// of it, the accounts' to the rest.
func (w *writer) shrink(now time.Time) error {
	bound := uint64(max(w.l.cfg.MaxBytes, 4))
	stray, err := w.shrinkTo(rowStray, bound/4, ^uint32(0))
	if err != nil {
		return err
	}
	return w.shrinkAccounts(bound-min(stray, bound/4), now)
}

// shrinkTo removes the oldest buckets of a row, up to the bucket end, until the rest is
// estimated to be within bound, and returns that estimate. The newest bucket of events
// without an account is halved. The rest alone is measured: removed
// events may still be on disk, and must not be counted twice. Events that are in
// memory only (at most some memtables of 8 MiB) are not counted.
func (w *writer) shrinkTo(row byte, bound uint64, end uint32) (size uint64, err error) {
	b, newest, some, err := w.buckets(row)
	if err != nil || !some {
		return 0, err
	}
	rest := func(from []byte) (uint64, error) {
		return w.l.db.EstimateDiskUsage(from, []byte{row + 1})
	}
	from := b
	if size, err = rest(bucketKey(nil, row, b)); err != nil {
		return 0, err
	}
	for size > bound && b < min(newest, end) {
		b++
		if size, err = rest(bucketKey(nil, row, b)); err != nil {
			return 0, err
		}
	}
	if b > from {
		w.l.log.Warn("audit events removed before their time: audit.max_bytes is reached",
			"max_bytes", w.l.cfg.MaxBytes, "before", at(uint64(b)*uint64(span)), "without_account", row == rowStray)
		if err := w.remove(bucketKey(nil, row, from), bucketKey(nil, row, b)); err != nil {
			return 0, err
		}
		for a := range w.chains.of {
			if rowOf(a) == row {
				if err := w.gone(a, uint64(b)*uint64(span)); err != nil {
					return 0, err
				}
			}
		}
	}
	if size > bound && row == rowStray {
		return size, w.halve(newest)
	}
	return size, w.commit(0)
}

// halve removes the older half, by time, of the events of no account that the newest
// bucket still holds. It does so once for each passing of half that time: removed events
// must have had their chance to leave the disk before it is measured again.
func (w *writer) halve(b uint32) error {
	start := max(uint64(b)*uint64(span), w.cut)
	now := min(uint64(b+1)*uint64(span), nanos(w.l.now()))
	if now < start+2*uint64(trimEvery) {
		return w.commit(0)
	}
	w.cut = start + (now-start)/2
	w.l.log.Warn("audit events removed before their time: audit.max_bytes holds less than ten minutes of events",
		"max_bytes", w.l.cfg.MaxBytes, "before", at(w.cut), "without_account", true)
	prefix := accountPrefix(nil, b, "")
	to, at, err := w.l.between(prefix, w.cut)
	if err != nil {
		return err
	}
	if err := errors.Join(w.remove(prefix, to), w.gone("", at)); err != nil {
		return err
	}
	return w.commit(0)
}

// buckets are the first and the last bucket of a row that hold anything.
func (w *writer) buckets(row byte) (first, last uint32, some bool, err error) {
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{row}, UpperBound: []byte{row + 1}})
	if err != nil {
		return 0, 0, false, err
	}
	defer it.Close()
	if !it.First() {
		return 0, 0, false, it.Error()
	}
	first = binary.BigEndian.Uint32(it.Key()[1:])
	it.Last()
	last = binary.BigEndian.Uint32(it.Key()[1:])
	return first, last, true, it.Error()
}
