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
)

// eventIDs write Raft index and number as base62, in digits that sort like
// numbers, and of a fixed width, so that ids sort like positions.
const (
	base62        = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	eventIndexLen = 11 // 62¹¹ > 2⁶⁴
	eventNLen     = 4
)

func eventID(index uint64, n uint32) string {
	b := [4 + eventIndexLen + eventNLen]byte{'e', 'v', 't', '_'}
	digits := func(d []byte, v uint64) {
		for i := len(d) - 1; i >= 0; i-- {
			d[i] = base62[v%62]
			v /= 62
		}
	}
	digits(b[4:4+eventIndexLen], index)
	digits(b[4+eventIndexLen:], uint64(n))
	return string(b[:])
}

// event writes the audit event of a change into the batch that makes it, among
// the events of the account that the command acts on.
func (t *txn) event(kind EventType, action string, key KeyID, target, reason string, changes json.RawMessage) {
	account := t.cmd.Account
	if account == "" {
		account = DefaultAccount
	}
	t.eventOf(account, kind, action, key, target, reason, changes)
}

func (t *txn) eventOf(account AccountID, kind EventType, action string, key KeyID, target, reason string, changes json.RawMessage) {
	e := &Event{
		Seq:       t.index,
		Time:      t.at,
		EventType: kind,
		Action:    action,
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
		e.Request = &t.cmd.Request
	}
	t.buf = packEvent(t.buf[:0], e)
	t.append(eventRow(account, t.at, t.index, t.events), t.buf)
	t.events++
}

const eventRowVersion = 1

// packEvent writes an event's row in table e, which its place completes: the
// account, the time and the id are in the row's name.
func packEvent(b []byte, e *Event) []byte {
	b = append(b, eventRowVersion)
	b = packTime(b, e.Time)
	b = packString(b, e.EventType)
	b = packString(b, e.Action)
	b = packString(b, e.Actor.Type)
	b = packString(b, e.Actor.ID)
	b = packString(b, e.Actor.Name)
	b = packString(b, e.KeyID)
	b = packString(b, e.Target)
	b = packString(b, e.Outcome)
	b = packString(b, e.Reason)
	b = packString(b, e.IP)
	b = packString(b, e.UserAgent)
	b = packBool(b, e.Request != nil)
	if r := e.Request; r != nil {
		b = packString(b, r.ID)
		b = packString(b, r.Method)
		b = packString(b, r.Route)
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
	u := unpacker{row: string(value)}
	u.version(eventRowVersion)
	index := binary.BigEndian.Uint64(row[end+1+8:])
	e := &Event{
		ID:        eventID(index, binary.BigEndian.Uint32(row[end+1+8+8:])),
		Seq:       index,
		Account:   AccountID(row[1:end]),
		Time:      u.time(),
		EventType: EventType(u.string()),
		Action:    u.string(),
		Actor:     Actor{Type: ActorType(u.string()), ID: u.string(), Name: u.string()},
		KeyID:     KeyID(u.string()),
		Target:    u.string(),
		Outcome:   Outcome(u.string()),
		Reason:    u.string(),
		IP:        u.string(),
		UserAgent: u.string(),
	}
	if u.bool() {
		e.Request = &RequestInfo{
			ID: u.string(), Method: u.string(), Route: u.string(),
			Status: int(u.uvarint()), DurationMS: float64(u.varint()) / 1e3,
		}
	}
	if u.bad {
		return nil, errPacked
	}
	if u.row != "" {
		e.Changes = json.RawMessage(u.row)
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
		from, to := prefix, behind(prefix)
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

// readEvents appends to chunk what matches among the next rows, and answers the
// row to go on at; nil at the end.
func (s *Store) readEvents(chunk []*Event, q *EventQuery, from, to []byte) (_ []*Event, next []byte, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
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
