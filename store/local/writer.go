package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/disk"
)

// Figures of the writer.
const (
	writeEvery = time.Second // at most this long after it was observed, a request is on disk
	trimEvery  = time.Minute
	// A larger batch may take Pebble more than half of a memtable: it then becomes a table and begins
	// a log of its own, which costs more than the writes themselves.
	batchBytes = 256 << 10
	seqBlock   = 1 << 16 // event numbers reserved at once
)

// writer turns queued records into rows. It belongs to one goroutine.
type writer struct {
	l     *Local
	batch *pebble.Batch
	spare []byte
	usage counts
	key   []byte
	of    []byte // the owner of the event
	at    underway
	value []byte
	err   error // the first failed write, for Close

	seq     uint64 // the last event's number
	ceiling uint64 // numbers up to here are reserved on disk

	oldest map[owner]uint32 // each owner's first bucket that may hold events
	sizes  sizes
	failed failures
	cut    uint64 // events of no account before this time were removed for size
	chains chains
	strays strays
	watch  watching
	names  names
}

// underway is the request of the record that is written, with the texts that the writer adds to
// it: in the writer, so that they are not allocated.
type underway struct {
	request request[[]byte]
	country Country
	name    []byte // of the key
}

func newWriter(l *Local) *writer {
	return &writer{
		l: l, batch: l.db.NewBatch(pebble.WithMaxRetainedSizeBytes(2 * batchBytes)), spare: make([]byte, 0, l.queue.size),
		usage: newCounts(), oldest: make(map[owner]uint32), sizes: newSizes(), failed: newFailures(), strays: newStrays(l.cfg.whole),
		watch: watching{texts: texts{}},
	}
}

// loadSeq goes on counting. The ceiling is on disk before a number below it is
// used, so a crash skips numbers and never gives one twice.
func (w *writer) loadSeq() error {
	v, err := w.l.get([]byte{rowOwn, 's'})
	if err != nil {
		return err
	}
	if v == nil {
		return nil
	}
	if len(v) != 8 {
		return errCorrupt
	}
	w.seq = binary.BigEndian.Uint64(v)
	w.ceiling = w.seq
	return nil
}

func (w *writer) saveSeq(n uint64) error {
	return w.l.db.Set([]byte{rowOwn, 's'}, binary.BigEndian.AppendUint64(nil, n), pebble.Sync)
}

func (w *writer) loadAccounts() error {
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowAccount}, UpperBound: []byte{rowAccount + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Value()) != 4 {
			return errCorrupt
		}
		w.oldest[owner(it.Key()[1:])] = binary.BigEndian.Uint32(it.Value())
	}
	if err := it.Error(); err != nil {
		return err
	}
	return w.loadSizes()
}

func (l *Local) run() {
	defer close(l.done)
	go l.scrub.run()
	defer func() { <-l.scrub.done }()
	tick, trim, full := time.Tick(writeEvery), time.Tick(trimEvery), l.queue.wake
	if l.cfg.asked {
		tick, trim, full = nil, nil, nil
	}
	for {
		w := l.w // replace makes another
		select {
		case <-tick:
			_ = w.note(w.write(true, false))
			_ = w.note(w.sync())
			if !w.replaced() {
				return
			}
		case <-l.damage.wake:
			if !w.replaced() {
				return
			}
		case <-full:
			_ = w.note(w.write(false, false))
		case t := <-l.requests:
			err := w.write(true, false)
			if err == nil && t.seal != nil {
				t.seal.Streams, err = w.sealAll()
			}
			if err == nil && t.erase != "" {
				err = eraseEvents(w, t.erase)
			}
			if err == nil && t.sync {
				err = w.sync()
			}
			if err == nil && t.seal != nil {
				t.seal.snap = l.db.NewSnapshot()
			}
			t.done <- w.note(err)
		case <-trim:
			if _, err := w.sealAll(); w.note(err) == nil {
				_ = w.note(w.trim(l.now()))
			}
		case <-l.stop:
			_ = w.note(w.finish())
			return
		}
	}
}

// replaced sets the data aside if it is damaged; false if that failed and there is
// nothing left to write to.
func (w *writer) replaced() bool {
	err := w.l.replace()
	if err != nil {
		w.l.guard.Fail(err)
	}
	return err == nil
}

// note reports a failed write once; the node stops on it. Damage found on the way
// is no failure: the data is set aside.
func (w *writer) note(err error) error {
	if disk.Damaged(err) {
		w.l.damage.hurt(err)
		return err
	}
	if err != nil && w.err == nil {
		w.err = err
		w.l.guard.Fail(err)
	}
	return err
}

func (w *writer) finish() error {
	defer w.batch.Close()
	if err := errors.Join(w.write(true, true), w.strays.write(w, true), w.saveSizes()); err != nil {
		return err
	}
	if err := w.saveSeq(w.seq); err != nil { // synchronous: everything before it is on disk too
		return err
	}
	return nil
}

// write empties the queue into the database, without waiting for the disk. With
// totals, usage and the spill are written too; with uses, every last use.
func (w *writer) write(totals, uses bool) error {
	if err := w.strays.turn(w, w.l.now()); err != nil {
		return err
	}
	for i := range w.l.queue.shards {
		full := w.l.queue.swap(i, w.spare)
		err := w.records(full)
		w.spare = full[:0]
		if err != nil {
			return err
		}
	}
	if totals {
		if err := w.totals(); err != nil {
			return err
		}
	}
	if uses {
		w.l.last.flush(w.saveUse)
	}
	return w.commit(0)
}

// records writes the records of a queue's shard. The clock is read once for all of them.
func (w *writer) records(buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	w.chains.now = nanos(w.l.now())
	defer func() { w.chains.now = 0 }()
	for len(buf) > 0 {
		r, rest, ok := nextRecord(buf)
		if !ok {
			panic("BUG: a queued record does not parse")
		}
		buf = rest
		if err := w.record(&r); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) record(r *record) error {
	v, err := &w.at.request, error(nil)
	if *v, err = parseRequest(r.value); err != nil {
		panic("BUG: a queued event does not parse")
	}
	ip, _ := netip.AddrFromSlice(v.addr)
	country := v.place()
	if country == (Country{}) {
		country = w.l.cfg.locate(ip)
	}
	denied := r.flags&recDenied != 0
	if r.flags&recEvent != 0 && (!denied || len(r.account) > 0 || w.strays.take(r, v, country)) {
		e := entry{account: r.account, refused: denied, started: r.ns, value: r.value, parsed: v, country: country}
		e.name = w.names.name(w.l, v, w.chains.now)
		if err := w.event(&e); err != nil {
			return err
		}
	}
	w.failed.note(r, v, country)
	w.watch.hand(w.l.cfg.Watch, r, v, ip, country)
	if r.flags&(recCounted|recUsed) != 0 {
		if r.flags&recUsed != 0 {
			id := v.key
			if len(id) == 0 && v.actor() == store.ActorOperator {
				id = v.by
			}
			w.l.last.note(id, r.ns, ip, country, w.saveUse)
		}
		if r.flags&recCounted != 0 {
			is := traits{marks: v.flags & flagLive, country: country, method: v.code, status: v.status}
			if v.flags&flagFailed != 0 {
				is.marks |= markFailed
			}
			s := binary.BigEndian.AppendUint32(w.usage.scratch[:0], minuteOf(r.ns))
			w.usage.scratch = appendRow(s, r.account, v.key, r.env, v.route, is)
			t := tallyOf(v.status, len(v.reason) > 0, r.units, r.cost)
			if v.flags&flagWould != 0 {
				t.would = 1
			}
			if err := w.count(t); err != nil {
				return err
			}
		}
	}
	return w.commit(batchBytes)
}

// entry is an event that is to be written.
type entry struct {
	account []byte
	refused bool   // of the refusals of its account
	started uint64 // when its request began
	value   []byte
	parsed  *request[[]byte] // value; nil if it is not at hand
	country Country          // of a request, if its value does not have it
	name    string           // of the key, if its value has none
	count   uint32           // of equal refusals that it stands for; 0 is one
}

// event appends one event row to the batch. Its time is that of its writing, so that no
// later event is older.
func (w *writer) event(e *entry) error {
	if w.seq == w.ceiling {
		if err := w.saveSeq(w.ceiling + seqBlock); err != nil {
			return err
		}
		w.ceiling += seqBlock
	}
	w.seq++
	ns, value := w.chains.stamp(w.l, e.started), e.value
	if value[0] == kindRequest {
		w.value = w.value[:0]
		if e.count > 1 {
			w.value = binary.AppendUvarint(append(w.value, kindMany), uint64(e.count))
		}
		at := len(w.value)
		w.value = append(w.value, value...)
		if e.country != (Country{}) && value[1]&flagPlace == 0 {
			w.value[at+1] |= flagPlace
			w.value = append(w.value, e.country[:]...)
		}
		w.value = binary.AppendVarint(w.value, int64(ns/1e6)-int64(e.started/1e6))
		if e.name != "" {
			w.value = appendText(w.value, e.name, maxHint)
		}
		value = w.value
		if r := e.parsed; r != nil {
			if w.at.country = e.country; w.at.country != (Country{}) {
				r.country = w.at.country[:]
			}
			w.at.name = append(w.at.name[:0], clip(e.name, maxHint)...)
			r.waited, r.timed, r.name = int64(ns/1e6)-int64(e.started/1e6), true, w.at.name
		}
	}
	w.of = appendOwner(w.of[:0], e.account, e.refused)
	var err error
	if w.key, err = appendTokens(eventKey(w.key[:0], w.of, ns, w.seq), value, e.parsed, w.l.cfg.Node); err != nil {
		return err
	}
	if err := w.batch.Set(w.key, value, nil); err != nil {
		return err
	}
	if err := w.chains.add(w.batch, w.of, ns, w.seq, value, e.parsed); err != nil {
		return err
	}
	b := bucketOf(ns)
	w.sizes.grow(w.of, b, len(w.key)+len(value))
	if have, ok := w.oldest[owner(w.of)]; !ok || b < have {
		return w.setOldest(owner(w.of), b)
	}
	return nil
}

func (w *writer) setOldest(account owner, bucket uint32) error {
	w.oldest[account] = bucket
	return w.batch.Set(append([]byte{rowAccount}, account...), binary.BigEndian.AppendUint32(nil, bucket), nil)
}

// count adds to the row in w.usage.scratch; a full table is written first.
func (w *writer) count(t tally) error {
	if w.usage.add(t, maxRows) {
		return nil
	}
	if err := w.rows(w.usage.rows); err != nil {
		return err
	}
	clear(w.usage.rows)
	w.usage.add(t, maxRows)
	return nil
}

func (w *writer) saveUse(key store.KeyID, u *recentUse) {
	w.value = appendLast(w.value[:0], u.ns, u.ip, u.country)
	_ = w.batch.Merge(lastKey(key), w.value, nil) // an error shows at the commit
}

// commit applies the batch if it is larger than bound.
func (w *writer) commit(bound int) error {
	if w.batch.Empty() || w.batch.Len() < bound {
		return nil
	}
	if err := w.l.db.Apply(w.batch, pebble.NoSync); err != nil {
		return fmt.Errorf("write the node's own data: %w", err)
	}
	w.l.unsynced.Store(true)
	w.batch.Reset()
	return nil
}

// sync makes all earlier writes survive a power loss.
func (w *writer) sync() error {
	if !w.l.unsynced.Swap(false) {
		return nil
	}
	if err := w.l.db.LogData(nil, pebble.Sync); err != nil {
		return fmt.Errorf("sync the node's own data: %w", err)
	}
	return nil
}
