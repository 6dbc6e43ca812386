package httpapi

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/store"
)

// appendEvent appends e as the API shows it, byte for byte what encoding/json
// writes, without its reflection: an export is bound by this function. A test
// compares the two. Every member is there in every event, null where there is
// nothing. Changes are trusted to be compact JSON: apply wrote them.
func appendEvent(b []byte, e *store.Event) []byte {
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
	return append(appendSome(b, e.Hash), '}')
}

// appendRequest appends r, or null. The event of a change is written before its
// call is answered, so there neither status nor duration is known.
func appendRequest(b []byte, r *store.RequestInfo) []byte {
	if r == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"id":`...)
	b = appendSome(b, r.ID)
	b = append(b, `,"method":`...)
	b = appendSome(b, r.Method)
	b = append(b, `,"route":`...)
	b = appendSome(b, r.Route)
	if r.Status == 0 {
		return append(b, `,"status":null,"duration_ms":null}`...)
	}
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = appendFloat(append(b, `,"duration_ms":`...), r.DurationMS)
	return append(b, '}')
}

// appendSome appends s, or null if it is empty.
func appendSome(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendFloat writes f as ES6 does: exponents from 1e21 and below 1e-6.
func appendFloat(b []byte, f float64) []byte {
	abs, format := math.Abs(f), byte('f')
	if abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

const hexDigits = "0123456789abcdef"

// appendString quotes s, escaping what HTML and JavaScript would trip over and
// replacing what is not UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\b':
				b = append(b, `\b`...)
			case '\f':
				b = append(b, `\f`...)
			case '\n':
				b = append(b, `\n`...)
			case '\r':
				b = append(b, `\r`...)
			case '\t':
				b = append(b, `\t`...)
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[start:i]...), `\ufffd`...)
			start = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hexDigits[r&15])
			start = i + n
		}
		i += n
	}
	return append(append(b, s[start:]...), '"')
}
