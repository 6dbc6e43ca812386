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

// shrink holds the events to the size bound: those of no account to a quarter
// of it, the accounts' to what those leave.
func (w *writer) shrink() error {
	bound := uint64(max(w.l.cfg.MaxBytes, 4))
	stray, err := w.shrinkTo(rowStray, bound/4)
	if err != nil {
		return err
	}
	_, err = w.shrinkTo(rowEvent, bound-min(stray, bound/4))
	return err
}

// shrinkTo removes the oldest buckets of a row until the rest is estimated to
// be within bound, and answers that estimate. The rest alone is measured: what
// was removed before may still be on disk, and must not be paid for twice. What
// is in memory only (at most some memtables of 8 MiB) is not counted.
func (w *writer) shrinkTo(row byte, bound uint64) (size uint64, err error) {
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
	for size > bound && b < newest {
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
	}
	if size > bound {
		return size, w.halve(row, newest)
	}
	return size, w.commit(0)
}

// halve removes the older half, by time, of what the newest bucket alone still
// holds. It does so once for each passing of half that time: what is removed
// must have had its chance to leave the disk before it is measured again.
func (w *writer) halve(row byte, b uint32) error {
	start := max(uint64(b)*uint64(span), w.cut[row])
	now := min(uint64(b+1)*uint64(span), nanos(w.l.now()))
	if now < start+2*uint64(trimEvery) {
		return w.commit(0)
	}
	w.cut[row] = start + (now-start)/2
	w.l.log.Warn("audit events removed before their time: audit.max_bytes holds less than ten minutes of events",
		"max_bytes", w.l.cfg.MaxBytes, "before", at(w.cut[row]), "without_account", row == rowStray)
	for a := range w.oldest {
		if rowOf(a) != row {
			continue
		}
		prefix := accountPrefix(nil, b, a)
		if err := w.remove(prefix, binary.BigEndian.AppendUint64(bytes.Clone(prefix), w.cut[row])); err != nil {
			return err
		}
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
