package local

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/perfgate/perfgate/store/pack"
)

// The first byte of every row is its kind. Integers in keys are big-endian,
// so that Pebble's order is theirs; accounts and keys are preceded by their
// length, so that a prefix names exactly one of them.
//
//	e bucket:4 account time:8 seq:8 … → an event (value.go), with what its index takes (index.go)
//	f bucket:4 account time:8 seq:8 … → the same, of no account
//	u step:1 slot:4 account key …     → usage counts (usage.go)
//	v hour:4 account kind:1 key reason hint address country:2 → a count of failed requests (failures.go)
//	t step:1 slot:4 account …         → usage counts of all keys of an account (usage.go)
//	l key                             → last use (lastuse.go)
//	a account                         → bucket:4, the oldest that may hold its events
//	b account bucket:4                → bytes:8 of an account's events in a bucket (share.go)
//	g, h bucket:4 account time:8 seq:8 → a segment of the events of e or f that ends with this one (chain.go)
//	q account                         → the end of its chain (chain.go)
//	k key                             → a key's habit (notes.go)
//	j time:8 id                       → a finding (notes.go)
//	m name                            → a mark of the node's own (marks.go)
//	n name                            → this package's own settings
//	r minute:4 account key live:1     → what the feed has made of a key's usage of a minute (meter.go)
//	s number:8                        → an event of the feed that waits (meter.go)
const (
	rowEvent   = 'e'
	rowStray   = 'f'
	rowUsage   = 'u'
	rowTotal   = 't'
	rowLast    = 'l'
	rowFailure = 'v'
	rowAccount = 'a'
	rowSize    = 'b'
	rowSeal    = 'g' // as far from rowEvent as 'h' is from rowStray
	rowChain   = 'q'
	rowHabit   = 'k'
	rowNote    = 'j'
	rowMark    = 'm'
	rowOwn     = 'n'
	rowMetered = 'r'
	rowFeed    = 's'
)

// span is the width of a bucket: events are kept by bucket, then account, then
// time. A bucket is the unit that retention and the size bound remove at once; a query
// costs one seek for each bucket that holds anything.
const span = 10 * time.Minute

// maxName bounds account and key ids in keys; longer ones are cut.
const maxName = 64

var errCorrupt = errors.New("a row of the node's own data does not decode; the disk may have damaged it")

// nanos is t as keys hold it. Times before 1970 become 0, those that nanoseconds
// do not reach (2262) the last of them: queries may name any year.
func nanos(t time.Time) uint64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return uint64(t.UnixNano())
}

func at(ns uint64) time.Time { return time.Unix(0, int64(ns)).UTC() }

func bucketOf(ns uint64) uint32 { return uint32(ns / uint64(span)) }

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// appendName writes s, at most maxName bytes of it, after its length.
func appendName[T pack.Text](dst []byte, s T) []byte {
	s = s[:min(len(s), maxName)]
	dst = append(dst, byte(len(s)))
	return append(dst, s...)
}

// rowOf says where an account's events lie. Refusals of credentials that name no
// account are anybody's to cause, so they have a place and a bound of their own:
// a flood of them pushes out no account's events.
func rowOf[T pack.Text](account T) byte {
	if len(account) == 0 {
		return rowStray
	}
	return rowEvent
}

func bucketKey(dst []byte, row byte, bucket uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, row), bucket)
}

func accountPrefix[T pack.Text](dst []byte, bucket uint32, account T) []byte {
	return appendName(bucketKey(dst, rowOf(account), bucket), account)
}

func eventKey[T pack.Text](dst []byte, account T, ns, seq uint64) []byte {
	dst = accountPrefix(dst, bucketOf(ns), account)
	dst = binary.BigEndian.AppendUint64(dst, ns)
	return binary.BigEndian.AppendUint64(dst, seq)
}

// place is a parsed event key; account and tokens alias it.
type place struct {
	bucket  uint32
	account []byte
	ns, seq uint64
	tokens  indexed
}

func parsePlace(k []byte) (p place, ok bool) {
	if len(k) < 6 || k[0] != rowEvent && k[0] != rowStray {
		return p, false
	}
	n := int(k[5])
	if len(k) < 6+n+16 || rowOf(k[6:6+n]) != k[0] {
		return p, false
	}
	p.bucket = binary.BigEndian.Uint32(k[1:])
	p.account = k[6 : 6+n]
	p.ns = binary.BigEndian.Uint64(k[6+n:])
	p.seq = binary.BigEndian.Uint64(k[6+n+8:])
	p.tokens = indexed(k[6+n+16:])
	return p, p.tokens.valid()
}
