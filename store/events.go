package store

import (
	"cmp"
	"encoding/binary"
	"encoding/json"

	"github.com/perfgate/perfgate/store/chain"
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
	t.eventOf(commandAccount(t), action, key, target, reason, changes)
}

// commandAccount is the account that the command acts on.
func commandAccount(t *txn) AccountID { return cmp.Or(t.cmd.Account, DefaultAccount) }

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
	if r := &t.cmd.Request; *r != (CommandRequest{}) {
		e.Request = &EventRequest{RequestInfo: r.RequestInfo, Path: r.Path, StartedAt: r.StartedAt}
	}
	var before *chain.State
	if t.chain.begin != 0 {
		e.ID = eventID(t.index, t.events)
		before = new(t.chained(e))
	}
	t.rows.buf = packEvent(t.rows.buf[:0], e, before)
	t.rows.append(eventRow(account, e.Time, t.index, t.events), t.rows.buf)
	t.events++
}

// Versions of an event's row: a chained one begins with its number and the state of its
// account's chain before it. Those of requests with a path have it and the start after the rest
// of the request.
const (
	eventRowVersion     = 1
	eventRowOfChained   = 2
	eventRowOfPath      = 3
	eventRowOfPathChain = 4 // both
)

// packEvent writes an event's row in table e, which its place completes: the
// account, the time and the id are in the row's name. before is nil if it is not chained.
func packEvent(b []byte, e *Event, before *chain.State) []byte {
	path := e.Request != nil && (e.Request.Path != "" || !e.Request.StartedAt.IsZero())
	switch {
	case before == nil && path:
		b = append(b, eventRowOfPath)
	case before == nil:
		b = append(b, eventRowVersion)
	case path:
		b = append(b, eventRowOfPathChain)
	default:
		b = append(b, eventRowOfChained)
	}
	if before != nil {
		b = packState(binary.AppendUvarint(b, e.Seq), *before)
	}
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
	if path {
		b = pack.Append(b, e.Request.Path)
		b = pack.AppendTime(b, e.Request.StartedAt)
	}
	return append(b, e.Changes...)
}

// unpackEvent reads a row, and the state of its account's chain before it, which is zero if
// it is not chained. The event's strings share one copy of value.
func unpackEvent(row, value []byte) (*Event, chain.State, error) {
	const place = 8 + 8 + 4
	end := len(row) - place - 1
	if end < 1 || row[end] != 0 {
		return nil, chain.State{}, errPacked
	}
	u := unpack(string(value))
	version := u.Byte()
	index := binary.BigEndian.Uint64(row[end+1+8:])
	seq := index
	var before chain.State
	switch version {
	case eventRowVersion, eventRowOfPath:
	case eventRowOfChained, eventRowOfPathChain:
		seq = u.Uvarint()
		before = u.state()
	default:
		return nil, chain.State{}, errPacked
	}
	e := &Event{
		ID:        eventID(index, binary.BigEndian.Uint32(row[end+1+8+8:])),
		Seq:       seq,
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
		if version == eventRowOfPath || version == eventRowOfPathChain {
			e.Request.Path, e.Request.StartedAt = u.Text(), u.Time()
		}
	}
	if u.Bad() {
		return nil, chain.State{}, errPacked
	}
	if u.Rest() != "" {
		e.Changes = json.RawMessage(u.Rest())
	}
	return e, before, nil
}
