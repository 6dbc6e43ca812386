package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store/chain"
)

// eventChunk is how many rows are read at once: a slow reader of a long answer
// must not keep old files of the database alive.
const eventChunk = 1024

// errNoAccount is the fault of a query that names no account.
var errNoAccount = errors.New("read audit events: no account is named")

// Events streams the audit events of changes to q.Account that pass q, ordered
// by (Time, ID), in bounded memory. It sees every event that was there at the
// call and may see later ones. An error ends it. It reads one log: a query that
// adds that of the operators is split first ([EventQuery.Logs]).
func (s *Store) Events(q EventQuery) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) { eventReader{s.db, &q}.all(yield, nil) }
}

// eventReader reads events of changes from the database or a snapshot of it.
type eventReader struct {
	from pebble.Reader
	q    *EventQuery
}

// all yields the events that q selects, of those that are chained only up to end; nil is
// no bound.
func (r eventReader) all(yield func(*Event, error) bool, end *chain.State) {
	q := r.q
	if q.Account == "" {
		yield(nil, errNoAccount)
		return
	}
	from, to := r.rows()
	chunk := make([]*Event, 0, eventChunk)
	for from != nil && bytes.Compare(from, to) < 0 {
		var err error
		if chunk, from, to, err = r.read(chunk[:0], from, to, end); err != nil {
			yield(nil, fmt.Errorf("read audit events of %s: %w", q.Account, err))
			return
		}
		for _, e := range chunk {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// rows are the first row that q may select, and the one after the last.
func (r eventReader) rows() (from, to []byte) {
	q := r.q
	prefix := accountRows(rowEvent, q.Account.OfEvents())
	from, to = prefix, prefixEnd(prefix)
	start, end := q.From, q.To
	if q.After != (EventPos{}) {
		if q.Newest {
			end = q.After.Time.Add(1)
		} else if q.After.Time.After(start) {
			start = q.After.Time
		}
	}
	if !start.IsZero() {
		from = appendSortedTime(slices.Clone(prefix), start)
	}
	if !end.IsZero() {
		to = appendSortedTime(slices.Clone(prefix), end)
	}
	return from, to
}

// read appends the matching events of the next rows to chunk, and returns the rows to go
// on with; nil at the end.
func (r eventReader) read(chunk []*Event, from, to []byte, end *chain.State) (_ []*Event, nextFrom, nextTo []byte, err error) {
	it, err := r.from.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	first, next := it.First, it.Next
	if r.q.Newest {
		first, next = it.Last, it.Prev
	}
	enc := chain.NewEncoder()
	seen := 0
	for ok := first(); ok; ok = next() {
		if seen++; seen > eventChunk {
			if r.q.Newest {
				return chunk, from, append(slices.Clone(it.Key()), 0), nil
			}
			return chunk, slices.Clone(it.Key()), to, nil
		}
		e, before, err := unpackEvent(it.Key(), it.Value())
		if err != nil {
			return nil, nil, nil, err
		}
		chained := before.Link != chain.Hash{}
		if chained && end != nil && e.Seq > end.Seq || !r.q.Matches(e) {
			continue
		}
		if chained {
			e.Hash = e.Leaf(enc).Hex()
		}
		chunk = append(chunk, e)
	}
	return chunk, nil, nil, it.Error()
}

// EventLog is the events of changes at one moment, with their proof. It keeps old files of
// the database alive until Close. It is for one goroutine.
type EventLog struct {
	snap *pebble.Snapshot
	enc  *chain.Encoder
}

// OpenEventLog begins to read at the present state.
func (s *Store) OpenEventLog() *EventLog {
	return &EventLog{snap: s.snapshot(), enc: chain.NewEncoder()}
}

// Close ends the reading.
func (l *EventLog) Close() error { return l.snap.Close() }

// Latest streams all events that q selects, those after the newest head included.
func (l *EventLog) Latest(q EventQuery) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) { eventReader{l.snap, &q}.all(yield, nil) }
}

// Events streams the events that q selects, up to the newest head of the changes.
func (l *EventLog) Events(q EventQuery) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		c, err := l.chain(string(q.Account.OfEvents()))
		if err != nil {
			yield(nil, err)
			return
		}
		eventReader{l.snap, &q}.all(yield, &c.end)
	}
}

// changesChain is an account's chain of changes at the newest head.
type changesChain struct {
	chain.Chain
	end chain.State // what the path leads to; zero if there is none
}

func (l *EventLog) chain(account string) (c changesChain, err error) {
	c.Chain = chain.Chain{Stream: chain.Changes, Account: account, Segments: []chain.Shown{}}
	if c.Head, err = headOf(l.snap, chain.Changes); err != nil || c.Head == nil {
		c.Unsaved = "no head was signed yet"
		return c, err
	}
	list, err := chains(l.snap, c.Head.Number)
	if err != nil {
		return c, err
	}
	i := slices.IndexFunc(list, func(a chain.Account) bool { return a.Account == account })
	if i < 0 {
		return c, nil
	}
	c.end, c.Since = list[i].State, list[i].Since
	c.Path, err = chain.PathTo(list, account)
	return c, err
}

// Kept is the account's place in the newest head; nil if there is no head.
func (l *EventLog) Kept(account AccountID) (*chain.KeptHead, error) {
	c, err := l.chain(string(account.OfEvents()))
	if err != nil || c.Head == nil {
		return nil, err
	}
	k := &chain.KeptHead{Head: *c.Head}
	if c.end.Events > 0 {
		k.State, k.Since, k.Path = &c.end, c.Since, &c.Path
	}
	return k, nil
}

// Proof streams the proof of what Events yields for q: the chain, then its segments, which
// are single events.
func (l *EventLog) Proof(q EventQuery) iter.Seq2[chain.Part, error] {
	return func(yield func(chain.Part, error) bool) {
		c, err := l.chain(string(q.Account.OfEvents()))
		if err != nil {
			yield(chain.Part{}, err)
			return
		}
		if c.end.Events == 0 {
			return
		}
		if err := l.prove(&q, &c, yield); err != nil && !errors.Is(err, errEnough) {
			yield(chain.Part{}, fmt.Errorf("prove audit events of %s: %w", q.Account, err))
		}
	}
}

func (l *EventLog) prove(q *EventQuery, c *changesChain, yield func(chain.Part, error) bool) (err error) {
	whole := EventQuery{Account: q.Account, From: q.From}
	from, to := eventReader{l.snap, &whole}.rows()
	it, err := l.snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	begun := false
	var held *chain.Shown // until the state after it is known as the log has it
	send := func(after chain.State) bool {
		if held != nil && after.Seq == held.Last {
			held.Check = after.Check()
		}
		return held == nil || yield(chain.Part{Shown: held}, nil)
	}
	for ok := it.First(); ok; ok = it.Next() {
		e, before, err := unpackEvent(it.Key(), it.Value())
		if err != nil {
			return err
		}
		if (before.Link == chain.Hash{}) || e.Seq > c.end.Seq {
			continue
		}
		if !begun {
			c.From, begun = before, true
			if !yield(chain.Part{Chain: &c.Chain}, nil) {
				return errEnough
			}
		}
		if !send(before) {
			return errEnough
		}
		g := chain.Segment{First: e.Seq, Last: e.Seq, Count: 1, Time: e.Time.UnixMilli(), Root: e.Leaf(l.enc)}
		held = new(chain.Show(g, before.Next(&g), []bool{q.Matches(e)}, nil))
	}
	if !send(c.end) {
		return errEnough
	}
	if err := it.Error(); err != nil || begun {
		return err
	}
	c.From = c.end
	yield(chain.Part{Chain: &c.Chain}, nil)
	return nil
}
