package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store/ids"
)

// Columns names the texts of an event in the order in which they are hashed. A column
// is only ever added at the end, where an empty text is not hashed: events of before
// keep their hashes.
var Columns = [...]string{
	"id", "seq", "time", "event_type", "action", "actor_type", "actor_id", "actor_name", "account", "key_id", "target",
	"outcome", "reason", "ip", "country", "user_agent", "request_id", "method", "route", "status", "duration_ms", "changes",
	"path", "upstream", "attempts", "started_at", "errors", "count",
}

// Indexes of the columns that the package itself reads.
const (
	colID      = 0
	colSeq     = 1
	colTime    = 2
	colAccount = 8
)

// TimeFormat is the form of times: UTC with milliseconds, which every format holds.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// AppendTime appends t in TimeFormat. Reading the layout again for each of the two times
// of an event took a quarter of its hash.
func AppendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, TimeFormat)
	}
	hour, minute, second := t.Clock()
	b = appendPair(appendPair(b, year/100), year%100)
	b = appendPair(append(b, '-'), int(month))
	b = appendPair(append(b, '-'), day)
	b = appendPair(append(b, 'T'), hour)
	b = appendPair(append(b, ':'), minute)
	b = appendPair(append(b, ':'), second)
	millis := t.Nanosecond() / 1e6
	return append(appendPair(append(b, '.'), millis/10), byte('0'+millis%10), 'Z')
}

// appendPair appends the two digits of n, which is below 100.
func appendPair(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// domain separates the hashes of events from all others.
const domain = "perfgate audit event 1\n"

// Encoder writes an event's texts in the order of [Columns] and hashes them: a zero
// byte and the domain, then each text after its length (uvarint), without empty
// texts at the end. It may be used again after Leaf. The zero value is not ready.
type Encoder struct {
	buf  []byte
	full int // length without the empty texts at the end

	second int64  // of the last time
	time   []byte // its text: times that follow each other differ in their milliseconds
}

// NewEncoder returns an encoder.
func NewEncoder() *Encoder {
	e := &Encoder{buf: append(make([]byte, 0, 1<<10), 0)}
	e.buf = append(e.buf, domain...)
	e.full = len(e.buf)
	return e
}

// Text writes the next text.
func (e *Encoder) Text(s string) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
	if s != "" {
		e.full = len(e.buf)
	}
}

// Bytes writes the next text.
func (e *Encoder) Bytes(s []byte) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
	if len(s) > 0 {
		e.full = len(e.buf)
	}
}

// Time writes a time in [TimeFormat]; the zero time is an empty text.
func (e *Encoder) Time(t time.Time) {
	if t.IsZero() {
		e.Text("")
		return
	}
	if second := t.Unix(); second != e.second || len(e.time) == 0 {
		e.second, e.time = second, AppendTime(e.time[:0], t)
	}
	millis, end := t.Nanosecond()/1e6, len(e.time)-len("000Z")
	e.time[end], e.time[end+1], e.time[end+2] = byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10)
	e.Bytes(e.time)
}

// Leaf returns the hash of the texts, and begins the next event.
func (e *Encoder) Leaf() Hash {
	h := sha256.Sum256(e.buf[:e.full])
	e.full = 1 + len(domain)
	e.buf = e.buf[:e.full]
	return h
}

// Record is an event as its texts.
type Record [len(Columns)]string

// Leaf is the record's hash.
func (r *Record) Leaf(e *Encoder) Hash {
	for i := range r {
		e.Text(r[i])
	}
	return e.Leaf()
}

// Changes is the stream of the events of changes, which all nodes have.
const Changes = "changes"

// streamLen is the length of the name of a node's stream: the beginning that all ids of
// its events have.
const streamLen = len("evt_") + 8

// StreamOf is the stream of the event with an id.
func StreamOf(id string) string {
	if len(id) == streamLen+ids.Uint64Len && strings.HasPrefix(id, "evt_") {
		return id[:streamLen]
	}
	return Changes
}
