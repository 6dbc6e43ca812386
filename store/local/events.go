package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// Events streams the events that q selects in the order of (Time, ID), as they
// were at one moment: everything observed before the call, nothing after it.
// The stream ends after the first error.
//
// Calls of operators about no account, refused requests with a credential that names no
// key, and requests of public routes have no account (""): they are the log of
// [store.Operators]. An empty Account selects all accounts and that log.
//
// A running stream keeps its events from being removed on disk, and Close
// waits for it. Memory is bounded by readAhead events beside Pebble's blocks.
func (l *Local) Events(q store.EventQuery) iter.Seq2[*store.Event, error] {
	return func(yield func(*store.Event, error) bool) {
		err := l.turn(false)
		if err == nil {
			if err = l.enter(); err == nil {
				defer l.leave()
				snap := l.db.NewSnapshot() // for both lanes the same moment
				defer snap.Close()
				err = l.read(snap, q, yield)
			}
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, fmt.Errorf("read audit events: %w", err))
		}
	}
}

// read streams the events of a snapshot that q selects.
func (l *Local) read(snap *pebble.Snapshot, q store.EventQuery, yield func(*store.Event, error) bool) error {
	r, err := l.newReader(snap, q)
	if err != nil {
		return err
	}
	return errors.Join(r.stream(yield), r.close())
}

// readAhead is how many events a stream holds at most, over all accounts that it
// merges: less than 1.2 MiB.
const readAhead = 1024

// firstAhead is how many events of an account a stream reads first of a bucket. It doubles
// with each reading: few readers of a first page look at more, and rare events are far apart.
const firstAhead = 32

// errStopped ends a stream that its consumer stopped.
var errStopped = errors.New("stopped")

// reader merges the accounts' events of one bucket after another.
type reader struct {
	l        *Local
	q        store.EventQuery
	dec      decoder
	snap     *pebble.Snapshot
	from, to uint64 // nanoseconds, [from, to)
	after    uint64 // of q.After; resume decides by id at this time
	begin    uint64 // number of the first event that is chained
	enc      *chain.Encoder
	lanes    []*lane
	sources  []*source
	all      bool // the sources are the accounts that a bucket holds
	ahead    int  // rows held, over all sources
	key      []byte
}

// lane reads the rows of one kind: events of accounts, or of none.
type lane struct {
	row byte
	it  *pebble.Iterator
	on  *source // its current row is that of this source
}

// source is one account's part of a bucket: rows read ahead, packed.
type source struct {
	lane    *lane
	account owner
	ids     string // what the ids of its events begin with
	share   int    // rows that it reads ahead next, at most that of the reader
	prefix  []byte // of its keys in this bucket
	next    []byte // where reading goes on; nil at the end
	rows    []row
	arena   []byte
	i       int // rows[i] is next
}

type row struct {
	ns, seq uint64
	end     int // of its value in the arena
}

func (l *Local) newReader(snap *pebble.Snapshot, q store.EventQuery) (*reader, error) {
	r := &reader{
		q: q, l: l, dec: newDecoder(l), to: math.MaxInt64, all: q.Account == "", ahead: l.ahead,
		begin: l.w.chains.begin, enc: chain.NewEncoder(), snap: snap,
	}
	r.from, r.after = nanos(q.From), nanos(q.After.Time)
	if !q.To.IsZero() {
		r.to = nanos(q.To)
	}
	switch {
	case q.After == (store.EventPos{}):
	case q.Newest:
		r.to = min(r.to, r.after+1)
	default:
		r.from = max(r.from, r.after)
	}
	accounts := ownersOf(&q)
	r.q.Account, r.q.WithOperators = "", false // which accounts to read is settled here

	for _, row := range []byte{rowStray, rowEvent} {
		if !r.all && !slices.ContainsFunc(accounts, func(a owner) bool { return rowOf(a) == row }) {
			continue
		}
		opts := &pebble.IterOptions{LowerBound: bucketKey(nil, row, bucketOf(r.from)), UpperBound: []byte{row + 1}}
		wantedBy(&q, row).filter(opts)
		it, err := r.snap.NewIter(opts)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.lanes = append(r.lanes, &lane{row: row, it: it})
	}
	for _, a := range accounts {
		for _, n := range r.lanes {
			if n.row == rowOf(a) {
				r.sources = append(r.sources, &source{lane: n, account: a, ids: r.dec.idsOf(a)})
			}
		}
	}
	return r, nil
}

func (r *reader) close() error {
	var errs []error
	for _, n := range r.lanes {
		errs = append(errs, n.it.Close())
	}
	return errors.Join(errs...)
}

func (r *reader) stream(yield func(*store.Event, error) bool) error {
	b, step := bucketOf(r.from), 1
	if r.q.Newest {
		b, step = bucketOf(r.to-min(r.to, 1)), -1
	}
	for ; ; b += uint32(step) {
		next, some, err := r.next(b)
		if err != nil || !some || uint64(next)*uint64(span) >= r.to || next < bucketOf(r.from) {
			return err
		}
		b = next
		if r.all {
			if err := r.accounts(b); err != nil {
				return err
			}
		}
		if err := r.bucket(b, yield); err != nil || b == 0 {
			return err
		}
	}
}

// next finds the first bucket from b on, in the order of the query, that holds anything.
func (r *reader) next(b uint32) (next uint32, some bool, err error) {
	for _, n := range r.lanes {
		ok := false
		if r.q.Newest {
			ok = n.it.SeekLT(bucketKey(r.key[:0], n.row, b+1))
		} else {
			ok = n.it.SeekGE(bucketKey(r.key[:0], n.row, b))
		}
		if !ok {
			if err := n.it.Error(); err != nil {
				return 0, false, err
			}
			continue
		}
		p, ok := parsePlace(n.it.Key())
		if !ok {
			return 0, false, errCorrupt
		}
		if !some || p.bucket < next != r.q.Newest && p.bucket != next {
			next, some = p.bucket, true
		}
	}
	return next, some, nil
}

// accounts makes a source of each account that has events in bucket b.
func (r *reader) accounts(b uint32) error {
	r.sources = r.sources[:0]
	for _, n := range r.lanes {
		for ok := n.it.SeekGE(bucketKey(nil, n.row, b)); ok; {
			p, parsed := parsePlace(n.it.Key())
			if !parsed {
				return errCorrupt
			}
			if p.bucket != b {
				break
			}
			r.sources = append(r.sources, &source{lane: n, account: owner(p.account), ids: r.dec.idsOf(owner(p.account))})
			ok = n.it.SeekGE(prefixEnd(accountPrefix(nil, b, p.account)))
		}
		if err := n.it.Error(); err != nil {
			return err
		}
	}
	return nil
}

// bucket yields one bucket's events, merged over the sources.
func (r *reader) bucket(b uint32, yield func(*store.Event, error) bool) error {
	share := max(1, r.ahead/len(r.sources))
	first := min(share, firstAhead)
	heap := make([]*source, 0, len(r.sources))
	for _, s := range r.sources {
		s.lane.on = nil
		s.prefix = accountPrefix(s.prefix[:0], b, s.account)
		edge := r.from
		if r.q.Newest {
			edge = r.to
		}
		s.next = binary.BigEndian.AppendUint64(append(s.next[:0], s.prefix...), edge)
		s.rows, s.arena, s.i = s.rows[:0], s.arena[:0], 0
		s.share = first
		if err := r.fill(s, s.share); err != nil {
			return err
		}
		if len(s.rows) > 0 {
			heap = append(heap, s)
		}
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		r.sink(heap, i)
	}
	for len(heap) > 0 {
		s := heap[0]
		start := 0
		if s.i > 0 {
			start = s.rows[s.i-1].end
		}
		row := s.rows[s.i]
		e, err := r.dec.event(s.account, row.ns, row.seq, s.arena[start:row.end])
		if err != nil {
			return fmt.Errorf("event %d of %v: %w", row.seq, at(row.ns), err)
		}
		if row.seq >= r.begin {
			e.Hash = e.Leaf(r.enc).Hex()
		}
		if !yield(e, nil) {
			return errStopped
		}
		if r.l.damage.pending() {
			return errReplacing // which waits for this stream
		}
		if s.i++; s.i == len(s.rows) {
			s.share = min(share, 2*s.share)
			if err := r.fill(s, s.share); err != nil {
				return err
			}
			if len(s.rows) == 0 {
				heap[0] = heap[len(heap)-1]
				heap = heap[:len(heap)-1]
			}
		}
		r.sink(heap, 0)
	}
	return nil
}

// sink restores the heap's order below i: the first next row on top.
func (r *reader) sink(h []*source, i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].before(h[least]) != r.q.Newest {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// before goes by (Time, ID): ids of one prefix are in the order of their numbers.
func (s *source) before(o *source) bool {
	a, b := s.rows[s.i], o.rows[o.i]
	return a.ns < b.ns || a.ns == b.ns && (s.ids < o.ids || s.ids == o.ids && a.seq < b.seq)
}

// fill reads up to n matching rows of s. It leaves s without rows at the end.
func (r *reader) fill(s *source, n int) error {
	s.rows, s.arena, s.i = s.rows[:0], s.arena[:0], 0
	if s.next == nil {
		return nil
	}
	it := s.lane.it
	ok := it.Valid()
	seek, next := it.SeekGE, it.Next
	if r.q.Newest {
		seek, next = func(key []byte) bool { return it.SeekLT(key) }, it.Prev
	}
	if s.lane.on != s {
		ok = seek(s.next)
		s.lane.on = s
	}
	for ; ok && len(s.rows) < n; ok = next() {
		k := it.Key()
		p, parsed := parsePlace(k)
		if !parsed {
			return errCorrupt
		}
		if !bytes.HasPrefix(k, s.prefix) || p.ns >= r.to || p.ns < r.from {
			ok = false
			break
		}
		v := it.Value()
		match, err := r.matches(p, v)
		if err != nil {
			return fmt.Errorf("event %d of %v: %w", p.seq, at(p.ns), err)
		}
		if match {
			s.arena = append(s.arena, v...)
			s.rows = append(s.rows, row{p.ns, p.seq, len(s.arena)})
		}
	}
	if !ok {
		s.next = nil
		return it.Error()
	}
	s.next = append(s.next[:0], it.Key()...)
	if r.q.Newest {
		s.next = append(s.next, 0) // seeks look below it
	}
	return nil
}

// matches applies q to a stored row, before anything is allocated for it.
func (r *reader) matches(p place, v []byte) (bool, error) {
	if r.q.After.ID != "" && p.ns == r.after && uint64(r.q.After.Time.UnixNano()) == r.after {
		r.key = appendID(r.key[:0], r.dec.idsOf(owner(p.account)), p.seq)
		if c := strings.Compare(string(r.key), r.q.After.ID); c == 0 || c < 0 != r.q.Newest {
			return false, nil
		}
	}
	q := &r.q
	if q.Key == "" && q.EventType == "" && q.User == "" && q.Action == "" && q.Outcome == "" {
		return true, nil
	}
	if len(v) > 0 && v[0] == kindDropped {
		e, err := r.dec.dropped("", p.ns, p.seq, v)
		plain := *q
		plain.After = store.EventPos{}
		return err == nil && plain.Matches(e), err
	}
	_, v, err := splitMany(v)
	if err != nil {
		return false, err
	}
	f, err := parseRequest(v)
	if err != nil {
		return false, err
	}
	if q.Key != "" && string(q.Key) != string(f.key) || q.User != "" && q.User != string(f.by) && q.User != string(f.hint) && q.User != string(f.name) ||
		q.EventType != "" && q.EventType != eventTypeOf(f.action, f.methodName()) ||
		q.Outcome != "" && q.Outcome != outcomeOf(f.status, len(f.reason) > 0) {
		return false, nil
	}
	if q.Action == "" || q.Action == string(f.action) {
		return true, nil
	}
	return q.Action == ActionRequest && len(f.action) == 0, nil
}
