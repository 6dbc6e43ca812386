package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store/chain"
)

// The bounds of one answer of [Store.Changes]. An event that is larger comes alone.
const (
	feedEvents = 1000
	feedBytes  = 4 << 20
)

// ChangePos is a place in the order in which changes were applied: that of ids.
type ChangePos struct {
	EventPos
	// Seq is the number up to which every event was read. It is past the event ID if later ones
	// were left out.
	Seq uint64 `json:"s,omitzero"`
}

// After reports whether p is later than o.
func (p ChangePos) After(o ChangePos) bool {
	if p.ID != o.ID && p.ID != "" && o.ID != "" {
		return p.ID > o.ID
	}
	if c := p.Time.Compare(o.Time); c != 0 {
		return c > 0
	}
	return p.Seq > o.Seq
}

// Feed is an answer of [Store.Changes].
type Feed struct {
	Events []*Event
	Next   ChangePos
	More   bool // there are later events
	// Unread are rows that are damaged. The events of other rows do not wait for them.
	Unread []error
}

// maxUnread bounds the damaged rows that an answer names.
const maxUnread = 10

// maxEventN is the highest number of an event that its id can tell.
const maxEventN = 62*62*62*62 - 1

// ChangeLog reads the events of changes in the order in which they were applied.
type ChangeLog struct{ from *Store }

// ChangeLog returns what reads the events of changes in their order.
func (s *Store) ChangeLog() ChangeLog { return ChangeLog{s} }

// Newest is the number of the last event; 0 while none is chained.
func (l ChangeLog) Newest() uint64 { return l.from.lastChange.Load() }

// End is the place after everything that is applied.
func (l ChangeLog) End(now time.Time) ChangePos {
	seq, applied := l.Newest(), l.from.Applied()
	if seq == 0 {
		seq = applied
	}
	return ChangePos{EventPos{now, eventID(applied, maxEventN)}, seq}
}

// Read reads the next events after a place, of the given accounts or of all,
// also of accounts that are deleted, in the order in which they were applied. It costs
// nothing if no event was written, else one row for each account and the events of those
// whose chains moved.
func (l ChangeLog) Read(pos ChangePos, accounts []AccountID) (_ *Feed, err error) {
	s, last := l.from, l.Newest() // read before the rows: what they lack has a higher number
	switch {
	case last != 0 && pos.Seq == last:
		return &Feed{Next: pos}, nil
	case last != 0 && pos.Seq > last: // the state is an earlier one, and what it has was read
		return &Feed{Next: l.End(pos.Time)}, nil
	}
	snap := s.snapshot()
	defer func() { err = errors.Join(err, snap.Close()) }()
	f := &feed{snap: snap, pos: pos}
	if err := f.accounts(accounts); err != nil {
		return nil, fmt.Errorf("read the events of changes: %w", err)
	}
	f.cut()
	out := &Feed{Next: pos, More: f.dropped, Unread: f.unread}
	for _, e := range f.list {
		out.Events = append(out.Events, e.Event)
		out.Next = ChangePos{EventPos{e.Time, e.ID}, e.Seq}
	}
	if !f.dropped {
		out.Next.Seq = max(out.Next.Seq, last)
	}
	return out, nil
}

// fed is an event and the size of its row.
type fed struct {
	*Event
	size int
}

// feed gathers the first events after pos: at most twice the bounds of an answer.
type feed struct {
	snap    *pebble.Snapshot
	pos     ChangePos
	list    []fed
	size    int
	dropped bool // later events than those in list
	unread  []error
}

// add puts an event among the first ones. false says that it and later ones have no room.
func (f *feed) add(e *Event, size int) bool {
	if f.dropped && e.ID > f.list[len(f.list)-1].ID {
		return false
	}
	// The last one stays last, once it is a bound.
	if f.dropped {
		i, found := slices.BinarySearchFunc(f.list, e.ID, func(x fed, id string) int { return strings.Compare(x.ID, id) })
		if !found {
			f.list = slices.Insert(f.list, i, fed{e, size})
			f.size += size
		}
	} else {
		f.list = append(f.list, fed{e, size})
		f.size += size
	}
	if len(f.list) >= 2*feedEvents || f.size >= 2*feedBytes {
		f.cut()
	}
	return true
}

// cut sorts the events and keeps those that an answer holds.
func (f *feed) cut() {
	slices.SortFunc(f.list, func(a, b fed) int { return strings.Compare(a.ID, b.ID) })
	f.list = slices.CompactFunc(f.list, func(a, b fed) bool { return a.ID == b.ID })
	f.size = 0
	for i, x := range f.list {
		if i == feedEvents || i > 0 && f.size+x.size > feedBytes {
			clear(f.list[i:])
			f.list, f.dropped = f.list[:i], true
			break
		}
		f.size += x.size
	}
}

// accounts reads the events of the given accounts, or of all that have any.
func (f *feed) accounts(only []AccountID) error {
	begin, err := f.begin()
	if err != nil {
		return err
	}
	// Events of before the chain have no links that tell whose they are.
	unchained := begin == 0 || f.pos.Seq+1 < begin
	switch {
	case len(only) > 0:
		return f.some(only, unchained)
	case unchained:
		return f.everyone()
	}
	it, err := f.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{rowLink}, UpperBound: []byte{rowLink + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := f.linked(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
}

// begin is the number of the first event that is chained; 0 while there is none.
func (f *feed) begin() (uint64, error) {
	v, closer, err := f.snap.Get(chainRow)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	c, err := unpackChaining(v)
	return c.begin, errors.Join(err, closer.Close())
}

func (f *feed) some(accounts []AccountID, unchained bool) error {
	for _, account := range accounts {
		account = account.OfEvents()
		if unchained {
			if err := f.account(account, nil); err != nil {
				return err
			}
			continue
		}
		row := named(rowLink, account)
		v, closer, err := f.snap.Get(row)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.linked(row, v), closer.Close()); err != nil {
			return err
		}
	}
	return nil
}

// linked reads the events of the account with a link, if its chain moved.
func (f *feed) linked(row, value []byte) error {
	l, err := unpackLink(value)
	if err != nil {
		f.fault(row, err)
		return nil
	}
	if l.now.Seq <= f.pos.Seq {
		return nil
	}
	return f.account(AccountID(row[1:]), &l.now)
}

// everyone finds the accounts by their events.
func (f *feed) everyone() error {
	it, err := f.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{rowEvent}, UpperBound: []byte{rowEvent + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; {
		end := bytes.IndexByte(it.Key(), 0)
		if end < 0 {
			return errPacked
		}
		account := AccountID(it.Key()[1:end])
		if err := f.account(account, nil); err != nil {
			return err
		}
		ok = it.SeekGE(prefixEnd(accountRows(rowEvent, account)))
	}
	return it.Error()
}

// account reads the events of an account. Its rows are in the order of their times, which
// is that of their numbers unless a clock was put back by more than clockSkew. The links tell,
// and then all of the account's rows are looked at.
func (f *feed) account(account AccountID, now *end) error {
	prefix := accountRows(rowEvent, account)
	from := prefix
	if !f.pos.Time.IsZero() {
		from = appendSortedTime(slices.Clone(prefix), f.pos.Time.Add(-clockSkew))
	}
	whole, err := f.walk(from, prefixEnd(prefix), now, false)
	if err == nil && !whole {
		_, err = f.walk(prefix, prefixEnd(prefix), now, true)
	}
	return err
}

// walk adds the events in rows from from to to, and reports whether none before them can be
// missing; all reads on whether or not.
func (f *feed) walk(from, to []byte, now *end, all bool) (whole bool, err error) {
	it, err := f.snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	enc := chain.NewEncoder()
	seq, damaged := f.pos.Seq, false
	for ok := it.First(); ok; ok = it.Next() {
		if !f.later(it.Key()) {
			continue
		}
		e, before, err := unpackEvent(it.Key(), it.Value())
		if err != nil {
			f.fault(it.Key(), err)
			damaged = true
			continue
		}
		if (before.Link != chain.Hash{}) {
			if before.Seq > seq && !damaged && !all {
				return false, nil
			}
			e.Hash = e.Leaf(enc).Hex()
		}
		seq = e.Seq
		if !f.add(e, len(it.Value())) && !all {
			return true, nil
		}
	}
	gone := now == nil || now.since > now.Time // erased, or expired
	return gone || damaged || seq >= now.Seq, it.Error()
}

// later reports whether an event's row is after pos.
func (f *feed) later(row []byte) bool {
	const place = 8 + 8 + 4
	if len(row) < place {
		return true // a fault
	}
	row = row[len(row)-place:]
	if f.pos.ID == "" {
		return int64(binary.BigEndian.Uint64(row)) > unixNano(f.pos.Time)
	}
	return eventID(binary.BigEndian.Uint64(row[8:]), binary.BigEndian.Uint32(row[16:])) > f.pos.ID
}

func (f *feed) fault(row []byte, err error) {
	if len(f.unread) < maxUnread {
		f.unread = append(f.unread, fmt.Errorf("row %q: %w", row, err))
	}
}
