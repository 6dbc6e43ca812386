package manage

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// AppendEvent appends e as the API shows it. It writes the object without
// reflection, which takes eight times as long and would bound an export; a test
// compares it with the reflecting encoder. Every member is there in every event,
// null where there is nothing. Changes are trusted to be compact JSON: apply wrote
// them.
func AppendEvent(b []byte, e *store.Event) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, e.ID)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","event_type":`...)
	b = appendString(b, string(e.EventType))
	b = append(b, `,"action":`...)
	b = appendString(b, e.Action)
	b = append(b, `,"actor":{"type":`...)
	b = appendSome(b, string(e.Actor.Type))
	b = append(b, `,"id":`...)
	b = appendSome(b, e.Actor.ID)
	b = append(b, `,"name":`...)
	b = appendSome(b, e.Actor.Name)
	b = append(b, `},"account":`...)
	b = appendSome(b, string(e.Account))
	b = append(b, `,"key_id":`...)
	b = appendSome(b, string(e.KeyID))
	b = append(b, `,"target":`...)
	b = appendSome(b, e.Target)
	b = append(b, `,"outcome":`...)
	b = appendString(b, string(e.Outcome))
	b = append(b, `,"reason":`...)
	b = appendSome(b, e.Reason)
	b = append(b, `,"ip":`...)
	b = appendSome(b, e.IP)
	b = append(b, `,"country":`...)
	b = appendSome(b, e.Country)
	b = append(b, `,"user_agent":`...)
	b = appendSome(b, e.UserAgent)
	b = append(b, `,"request":`...)
	b = appendRequest(b, e.Request)
	b = append(b, `,"changes":`...)
	if len(e.Changes) > 0 {
		b = append(b, e.Changes...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"hash":`...)
	b = appendSome(b, e.Hash)
	if e.Count > 1 {
		b = strconv.AppendUint(append(b, `,"count":`...), uint64(e.Count), 10)
	}
	return append(b, '}')
}

// appendRequest appends r, or null. The event of a change is written before its
// call is answered, so there neither status nor duration is known.
func appendRequest(b []byte, r *store.EventRequest) []byte {
	if r == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"id":`...)
	b = appendSome(b, r.ID)
	b = append(b, `,"method":`...)
	b = appendSome(b, r.Method)
	b = append(b, `,"path":`...)
	b = appendSome(b, r.Path)
	b = append(b, `,"route":`...)
	b = appendSome(b, r.Route)
	b = append(b, `,"upstream":`...)
	b = appendSome(b, r.Upstream)
	b = strconv.AppendInt(append(b, `,"attempts":`...), int64(r.Attempts), 10)
	b = append(b, `,"errors":`...)
	b = appendSome(b, r.Errors)
	b = append(b, `,"started_at":`...)
	if r.StartedAt.IsZero() {
		b = append(b, "null"...)
	} else {
		b = append(r.StartedAt.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
	}
	if r.Status == 0 {
		b = append(b, `,"status":null,"duration_ms":null`...)
	} else {
		b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
		b = strconv.AppendFloat(append(b, `,"duration_ms":`...), r.DurationMS, 'f', -1, 64)
	}
	b = append(b, `,"limits":`...)
	return append(appendLimits(b, r.Limits), '}')
}

// appendLimits appends l, or null. The limit of a budget is money.
func appendLimits(b []byte, l *store.EventLimits) []byte {
	if l == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"policy":`...)
	b = appendSome(b, l.Policy)
	switch l.Policy {
	case "":
		b = append(b, `,"limit":null,"left":null`...)
	case limiter.Budget.String():
		b = store.Money(l.Limit).AppendDecimal(append(b, `,"limit":`...))
		b = store.Money(l.Left).AppendDecimal(append(b, `,"left":`...))
	default:
		b = strconv.AppendInt(append(b, `,"limit":`...), l.Limit, 10)
		b = strconv.AppendInt(append(b, `,"left":`...), l.Left, 10)
	}
	b = append(b, `,"shared":`...)
	if s := l.Shared; s == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(append(b, `{"here":`...), s.Here, 10)
		b = strconv.AppendInt(append(b, `,"elsewhere":`...), s.Elsewhere, 10)
		b = append(strconv.AppendInt(append(b, `,"asked":`...), int64(s.Asked), 10), '}')
	}
	b = append(b, `,"would_refuse":[`...)
	for i, name := range l.WouldRefuse {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
	}
	return append(b, "]}"...)
}

// appendSome appends s, or null if it is empty.
func appendSome(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString quotes s and replaces bytes that are not UTF-8.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
