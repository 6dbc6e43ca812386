package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store/ids"
	"github.com/perfgate/perfgate/store/pack"
)

// eventNLen is the number of digits of an event's number in its command's events.
const eventNLen = 4

// eventID is "evt_", the Raft index and the number n in digits of a fixed width,
// so that ids sort as positions do.
func eventID(index uint64, n uint32) string {
	b := append(make([]byte, 0, 4+ids.Uint64Len+eventNLen), "evt_"...)
	b = ids.Append(b, index, ids.Uint64Len)
	return string(ids.Append(b, uint64(n), eventNLen))
}

// event writes the audit event of a change into the batch that makes it, among
// the events of the account that the command acts on.
func (t *txn) event(action Action, key KeyID, target, reason string, changes json.RawMessage) {
	account := t.cmd.Account
	if account == "" {
		account = DefaultAccount
	}
	t.eventOf(account, action, key, target, reason, changes)
}

func (t *txn) eventOf(account AccountID, action Action, key KeyID, target, reason string, changes json.RawMessage) {
	e := &Event{
		Seq:       t.index,
		Time:      t.when.keptFrom(),
		EventType: action.Type,
		Action:    action.Name,
		Actor:     t.cmd.Actor,
		Account:   account,
		KeyID:     key,
		Target:    target,
		Outcome:   Success,
		Reason:    reason,
		IP:        t.cmd.IP,
		UserAgent: t.cmd.Agent,
		Changes:   changes,
	}
	if t.cmd.Request != (RequestInfo{}) {
		e.Request = &EventRequest{RequestInfo: t.cmd.Request}
	}
	t.rows.buf = packEvent(t.rows.buf[:0], e)
	t.rows.append(eventRow(account, e.Time, t.index, t.events), t.rows.buf)
	t.events++
}

const eventRowVersion = 1

// packEvent writes an event's row in table e, which its place completes: the
// account, the time and the id are in the row's name.
func packEvent(b []byte, e *Event) []byte {
	b = append(b, eventRowVersion)
	b = pack.AppendTime(b, e.Time)
	b = pack.Append(b, e.EventType)
	b = pack.Append(b, e.Action)
	b = pack.Append(b, e.Actor.Type)
	b = pack.Append(b, e.Actor.ID)
	b = pack.Append(b, e.Actor.Name)
	b = pack.Append(b, e.KeyID)
	b = pack.Append(b, e.Target)
	b = pack.Append(b, e.Outcome)
	b = pack.Append(b, e.Reason)
	b = pack.Append(b, e.IP)
	b = pack.Append(b, e.UserAgent)
	b = pack.AppendBool(b, e.Request != nil)
	if r := e.Request; r != nil {
		b = pack.Append(b, r.ID)
		b = pack.Append(b, r.Method)
		b = pack.Append(b, r.Route)
		b = binary.AppendUvarint(b, uint64(r.Status))
		b = binary.AppendVarint(b, int64(r.DurationMS*1e3))
	}
	return append(b, e.Changes...)
}

// unpackEvent reads a row. The event's strings share one copy of value.
func unpackEvent(row, value []byte) (*Event, error) {
	const place = 8 + 8 + 4
	end := len(row) - place - 1
	if end < 1 || row[end] != 0 {
		return nil, errPacked
	}
	u := unpack(string(value))
	u.Version(eventRowVersion)
	index := binary.BigEndian.Uint64(row[end+1+8:])
	e := &Event{
		ID:        eventID(index, binary.BigEndian.Uint32(row[end+1+8+8:])),
		Seq:       index,
		Account:   AccountID(row[1:end]),
		Time:      u.Time(),
		EventType: EventType(u.Text()),
		Action:    u.Text(),
		Actor:     Actor{Type: ActorType(u.Text()), ID: u.Text(), Name: u.Text()},
		KeyID:     KeyID(u.Text()),
		Target:    u.Text(),
		Outcome:   Outcome(u.Text()),
		Reason:    u.Text(),
		IP:        u.Text(),
		UserAgent: u.Text(),
	}
	if u.Bool() {
		e.Request = &EventRequest{RequestInfo: RequestInfo{
			ID: u.Text(), Method: u.Text(), Route: u.Text(),
			Status: int(u.Uvarint()), DurationMS: float64(u.Varint()) / 1e3,
		}}
	}
	if u.Bad() {
		return nil, errPacked
	}
	if u.Rest() != "" {
		e.Changes = json.RawMessage(u.Rest())
	}
	return e, nil
}

// eventChunk is how many rows are read at once: a slow reader of a long answer
// must not keep old files of the database alive.
const eventChunk = 1024

// Events streams the audit events of changes to q.Account that pass q, ordered
// by (Time, ID), in bounded memory. It sees every event that was there at the
// call and may see later ones. An error ends it.
func (s *Store) Events(q EventQuery) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		if q.Account == "" {
			yield(nil, errors.New("read audit events: no account is named"))
			return
		}
		prefix := accountRows(rowEvent, q.Account)
		from, to := prefix, prefixEnd(prefix)
		start := q.From
		if q.After.Time.After(start) {
			start = q.After.Time
		}
		if !start.IsZero() {
			from = appendSortedTime(slices.Clone(prefix), start)
		}
		if !q.To.IsZero() {
			to = appendSortedTime(slices.Clone(prefix), q.To)
		}
		chunk := make([]*Event, 0, eventChunk)
		for from != nil && bytes.Compare(from, to) < 0 {
			var err error
			if chunk, from, err = s.readEvents(chunk[:0], &q, from, to); err != nil {
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
}

// readEvents appends the matching events of the next rows to chunk, and returns the
// row to go on at; nil at the end.
func (d database) readEvents(chunk []*Event, q *EventQuery, from, to []byte) (_ []*Event, next []byte, err error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	seen := 0
	for ok := it.First(); ok; ok = it.Next() {
		if seen++; seen > eventChunk {
			return chunk, slices.Clone(it.Key()), nil
		}
		e, err := unpackEvent(it.Key(), it.Value())
		if err != nil {
			return nil, nil, err
		}
		if q.Matches(e) {
			chunk = append(chunk, e)
		}
	}
	return chunk, nil, it.Error()
}
