package local

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// sizes counts the events of each account in bytes of their rows, before they are
// compressed, so that the size bound can be shared fairly: an account that stays below
// its share loses no event because of another one's. It belongs to the writer.
type sizes struct {
	total map[owner]uint64 // of accounts with events: as many as writer.oldest
	// fresh is the part of total that is not in rows yet: at most a minute's
	// accounts, twice where a bucket ends. A crash forgets it, so the counts
	// may be too low by that.
	fresh map[sizeOf]uint64
	last  sizeOf // of grow: most events are of the same account as the one before, whose text can be used again
	since uint32 // buckets before this one were written by a version that did not count
	// dead estimates the bytes that were removed for size and may still be on the disk. It
	// halves in each span, in which Pebble has had many chances to drop them.
	dead   uint64
	deadAt time.Time
	cut    map[owner]uint64 // events of the newest bucket before this time are removed
}

// sizeOf names the events of an account in one bucket.
type sizeOf struct {
	account owner
	bucket  uint32
}

func newSizes() sizes {
	return sizes{total: make(map[owner]uint64), fresh: make(map[sizeOf]uint64), cut: make(map[owner]uint64)}
}

func sizeRows(account owner) []byte { return appendName([]byte{rowSize}, account) }

func sizeRow(account owner, bucket uint32) []byte {
	return binary.BigEndian.AppendUint32(sizeRows(account), bucket)
}

var sinceRow = []byte{rowOwn, 'z'}

// loadSizes reads the counts that were saved. In data of a version that did not count, it
// begins with the next bucket.
func (w *writer) loadSizes() error {
	v, err := w.l.get(sinceRow)
	if err != nil {
		return err
	}
	if v == nil {
		_, _, some, err := w.buckets(rowEvent)
		if err != nil {
			return err
		}
		v = make([]byte, 4)
		if some {
			binary.BigEndian.PutUint32(v, bucketOf(nanos(w.l.now()))+1)
		}
		if err := w.l.db.Set(sinceRow, v, pebble.Sync); err != nil {
			return err
		}
	}
	if len(v) != 4 {
		return errCorrupt
	}
	w.sizes.since = binary.BigEndian.Uint32(v)
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowSize}, UpperBound: []byte{rowSize + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		if len(k) < 2 || len(k) != 2+int(k[1])+4 || len(it.Value()) != 8 {
			return errors.Join(errCorrupt, it.Close())
		}
		w.sizes.total[owner(k[2:len(k)-4])] += binary.BigEndian.Uint64(it.Value())
	}
	return errors.Join(it.Error(), it.Close())
}

// grow counts an event of size bytes.
func (s *sizes) grow(account []byte, bucket uint32, size int) {
	if len(account) == 0 || bucket < s.since {
		return
	}
	if string(s.last.account) != string(account) {
		s.last.account = owner(account)
	}
	s.last.bucket = bucket
	s.total[s.last.account] += uint64(size)
	s.fresh[s.last] += uint64(size)
}

// shrink takes size bytes from an account's count.
func (s *sizes) shrink(account owner, size uint64) {
	if left := s.total[account]; left > size {
		s.total[account] = left - size
	} else {
		delete(s.total, account)
	}
}

// saveSizes writes the counts that are not in rows yet.
func (w *writer) saveSizes() error {
	for at, size := range w.sizes.fresh {
		row := sizeRow(at.account, at.bucket)
		v, err := w.l.get(row)
		if err != nil {
			return err
		}
		if len(v) == 8 {
			size += binary.BigEndian.Uint64(v)
		}
		if err := w.batch.Set(row, binary.BigEndian.AppendUint64(nil, size), nil); err != nil {
			return err
		}
	}
	clear(w.sizes.fresh)
	return w.commit(0)
}

// forget drops the counts of an account's buckets before end, whose events are
// removed.
func (w *writer) forget(account owner, end uint32) error {
	if err := w.saveSizes(); err != nil {
		return err
	}
	from, to := sizeRows(account), sizeRow(account, end)
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	some := false
	for ok := it.First(); ok; ok = it.Next() {
		some = true
		w.sizes.shrink(account, binary.BigEndian.Uint64(it.Value()))
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil || !some {
		return err
	}
	return w.batch.DeleteRange(from, to, nil)
}

// shrinkAccounts holds the events of accounts to bound bytes on the disk. Where they are
// beyond it, events that were never counted go first, the oldest of all accounts.
// After that, of each kind of events, requests and refusals, the accounts with the most lose
// their oldest, until all of them have the same; the others lose none.
func (w *writer) shrinkAccounts(bound uint64, now time.Time) error {
	if err := w.saveSizes(); err != nil {
		return err
	}
	disk, err := w.shrinkTo(rowEvent, bound, w.sizes.since)
	if err != nil || disk <= bound {
		return err
	}
	s := &w.sizes
	maps.DeleteFunc(s.cut, func(_ owner, at uint64) bool { return bucketOf(at) < bucketOf(nanos(now)) })
	for ; s.dead > 0 && now.Sub(s.deadAt) >= span; s.deadAt = s.deadAt.Add(span) {
		s.dead /= 2
	}
	var all uint64
	for _, n := range s.total {
		all += n
	}
	// The disk holds the events of all in its compressed form, and as much of dead as
	// was not dropped: live is that part of all.
	live := float64(disk) * float64(all) / float64(max(all+s.dead, 1))
	if live <= float64(bound) {
		return nil
	}
	fits := uint64(float64(all) * float64(bound) / live)
	accounts, err := 0, error(nil)
	for _, refused := range []bool{false, true} {
		n, failed := s.shrinkKind(w, refused, fits, now)
		accounts += n
		err = errors.Join(err, failed)
	}
	if err != nil {
		return err
	}
	if accounts > 0 {
		w.l.log.Warn("audit events removed before their time: audit.max_bytes is reached; the accounts with the most events lost their oldest",
			"max_bytes", w.l.cfg.MaxBytes, "accounts", accounts)
	}
	return w.commit(0)
}

// shrinkKind holds the requests of accounts, or their refusals, to their part of the bytes
// that fit: a third is kept for refusals, the rest for requests, and each kind takes what
// the other one does not need. It answers how many accounts lost events.
func (s *sizes) shrinkKind(w *writer, refused bool, fits uint64, now time.Time) (accounts int, err error) {
	var list []uint64
	var other uint64
	for of, n := range s.total {
		if refuses(of) == refused {
			list = append(list, n)
		} else {
			other += n
		}
	}
	kept := fits / 3
	if !refused {
		kept = fits - kept
	}
	share := fairShare(list, max(kept, fits-min(fits, other)))
	for _, a := range slices.Sorted(maps.Keys(s.total)) {
		if refuses(a) != refused || s.total[a] <= share {
			continue
		}
		before := s.total[a]
		if err := w.cutAccount(a, share, now); err != nil {
			return accounts, err
		}
		if after := s.total[a]; after < before { // a crash may have left a count too low
			s.dead += before - after
			s.deadAt = now
			accounts++
		}
	}
	return accounts, nil
}

// fairShare is the most that each may keep so that all together keep no more than
// bound.
func fairShare(list []uint64, bound uint64) uint64 {
	slices.Sort(list)
	for i, n := range list {
		share := bound / uint64(len(list)-i)
		if n > share {
			return share
		}
		bound -= n
	}
	return ^uint64(0)
}

// cutAccount removes the oldest buckets of an account until it has at most share bytes.
// The newest one is halved, once for each passing of half the time that it then covers.
func (w *writer) cutAccount(a owner, share uint64, now time.Time) error {
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: sizeRows(a), UpperBound: append(sizeRows(a), 0xff, 0xff, 0xff, 0xff, 0xff)})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok && w.sizes.total[a] > share; {
		row, size := slices.Clone(it.Key()), binary.BigEndian.Uint64(it.Value())
		b := binary.BigEndian.Uint32(row[len(row)-4:])
		if ok = it.Next(); !ok {
			return errors.Join(it.Error(), w.halveAccount(a, b, size, now))
		}
		prefix := accountPrefix(nil, b, a)
		if err := errors.Join(w.remove(prefix, prefixEnd(prefix)), w.gone(a, uint64(b+1)*uint64(span)), w.batch.Delete(row, nil)); err != nil {
			return err
		}
		w.sizes.shrink(a, size)
	}
	return it.Error()
}

// halveAccount removes the older half, by time, of an account's events in bucket b, or
// all that are left of a bucket that is over. The count becomes that of the rows which
// stay. They are read for that, 1 GB a second, since events are not spread evenly over time.
func (w *writer) halveAccount(a owner, b uint32, size uint64, now time.Time) error {
	prefix := accountPrefix(nil, b, a)
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return err
	}
	defer it.Close()
	end := min(uint64(b+1)*uint64(span), nanos(now))
	middle := end
	if it.First() {
		first, ok := parsePlace(it.Key())
		if !ok {
			return errCorrupt
		}
		switch start := max(first.ns, w.sizes.cut[a]); {
		case end >= start+2*uint64(trimEvery):
			middle = start + (end-start)/2
		case bucketOf(nanos(now)) <= b:
			return it.Error()
		}
	}
	from, at, err := w.l.between(prefix, middle)
	if err != nil {
		return err
	}
	if err := w.gone(a, at); err != nil {
		return err
	}
	rest := uint64(0)
	for ok := it.SeekGE(from); ok; ok = it.Next() {
		rest += uint64(len(it.Key()) + len(it.Value()))
	}
	if err := it.Error(); err != nil {
		return err
	}
	w.sizes.cut[a] = middle
	w.sizes.shrink(a, size)
	row := sizeRow(a, b)
	if rest == 0 {
		return errors.Join(w.remove(prefix, from), w.batch.Delete(row, nil))
	}
	w.sizes.total[a] += rest
	return errors.Join(w.remove(prefix, from), w.batch.Set(row, binary.BigEndian.AppendUint64(nil, rest), nil))
}
