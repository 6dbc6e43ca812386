package local

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/pack"
)

// tally holds the counts of a usage row.
type tally struct {
	requests, denied, units, cost uint64
	would                         uint64 // requests that a shadow rule would have refused
}

func (t *tally) add(o tally) {
	t.requests = plus(t.requests, o.requests)
	t.denied = plus(t.denied, o.denied)
	t.units = plus(t.units, o.units)
	t.cost = plus(t.cost, o.cost)
	t.would = plus(t.would, o.would)
}

// plus adds counts, and holds at the largest int64: sums of money and units must
// not wrap, here or where they are read.
func plus(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxInt64
	}
	return min(sum, math.MaxInt64)
}

// append writes t; the last count is left out where it is 0, and by earlier versions.
func (t tally) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, t.requests)
	dst = binary.AppendUvarint(dst, t.denied)
	dst = binary.AppendUvarint(dst, t.units)
	dst = binary.AppendUvarint(dst, t.cost)
	if t.would > 0 {
		dst = binary.AppendUvarint(dst, t.would)
	}
	return dst
}

func parseTally(v []byte) (t tally, err error) {
	p := pack.NewReader(v)
	t = tally{requests: p.Uvarint(), denied: p.Uvarint(), units: p.Uvarint(), cost: p.Uvarint()}
	if len(p.Rest()) > 0 {
		if t.would = p.Uvarint(); t.would == 0 {
			p.Fail()
		}
	}
	if p.Bad() || len(p.Rest()) != 0 {
		return t, errCorrupt
	}
	return t, nil
}

// Marks of a usage row.
const (
	markLive   = 1 // of a live key
	markWide   = 2 // country and method stand after the environment; earlier versions wrote neither
	markFailed = 4 // the gateway itself answered 5xx: never billable
)

// traits are the dimensions of a request that have few values.
type traits struct {
	marks   byte
	country Country
	method  byte // a code of methods
	status  int
}

// appendRow writes the part of a usage row's key after its slot. The account
// and the key stand first: queries go by them. With 250 countries and eight methods, a
// client that controls both makes at most 2,000 rows of one key, route and status.
func appendRow[T pack.Text](dst []byte, account, key, env, route T, is traits) []byte {
	dst = appendName(dst, account)
	dst = appendName(dst, key)
	dst = append(dst, is.marks|markWide, byte(min(len(env), maxEnviron)))
	dst = append(dst, env[:min(len(env), maxEnviron)]...)
	dst = append(dst, is.country[0], is.country[1], is.method)
	dst = binary.BigEndian.AppendUint16(dst, uint16(is.status))
	return append(dst, route[:min(len(route), maxRoute)]...)
}

// usageRow is a parsed row key after its slot; it aliases the key.
type usageRow struct {
	account, key, env, route []byte
	traits
}

func (r *usageRow) live() bool { return r.marks&markLive != 0 }

// methodName is "" where an earlier version did not write it.
func (r *usageRow) methodName() string {
	switch {
	case r.marks&markWide == 0:
		return ""
	case r.method == 0:
		return OtherMethod
	}
	return methods[r.method]
}

// UsageMethods are the methods that usage tells apart.
var UsageMethods = append(methods[1:len(methods):len(methods)], OtherMethod)

// OtherMethod stands for all methods that have no rows of their own.
const OtherMethod = "other"

func parseRow(b []byte) (r usageRow, ok bool) {
	p := pack.NewReader(b)
	r.account = p.Take(uint64(p.Byte()))
	r.key = p.Take(uint64(p.Byte()))
	r.marks = p.Byte()
	r.env = p.Take(uint64(p.Byte()))
	if r.marks&markWide != 0 {
		if c := p.Take(2); len(c) == 2 {
			r.country = Country(c)
		}
		r.method = p.Byte()
	}
	s := p.Take(2)
	if p.Bad() || int(r.method) >= len(methods) {
		return r, false
	}
	r.status = int(binary.BigEndian.Uint16(s))
	r.route = p.Rest()
	return r, true
}

// counts gathers tallies by minute and row until they are written. Its size is
// bounded by its callers: the writer flushes at maxRows, overload stops there.
type counts struct {
	rows    map[string]*tally // minute:4 and the row
	scratch []byte
}

// maxRows bounds a counts: about 250 bytes each, 8 MiB.
const maxRows = 32 << 10

func newCounts() counts { return counts{rows: make(map[string]*tally)} }

// add counts t in the row with the key c.scratch, unless that would be a new
// row beyond the bound.
func (c *counts) add(t tally, bound int) bool {
	if have := c.rows[string(c.scratch)]; have != nil {
		have.add(t)
		return true
	}
	if len(c.rows) >= bound {
		return false
	}
	n := t
	c.rows[string(c.scratch)] = &n
	return true
}

func minuteOf(ns uint64) uint32 { return uint32(ns / uint64(time.Minute)) }

// tallyOf is the tally of one request. A refused request shows the units and the cost that
// it was charged and not refunded, such as one with a malformed body. A fault of ours or
// the upstream's (5xx) after admission is no denial.
func tallyOf(status int, refused bool, units, cost uint64) tally {
	t := tally{requests: 1, units: units, cost: cost}
	if refused && status < 500 {
		t.denied = 1
	}
	return t
}

// spill counts the requests that found the queue full, on the caller's side, so
// that an overload costs audit events but no usage. It holds at most maxRows
// rows; requests beyond them are known by number only.
type spill struct {
	lost atomic.Uint64 // events not kept, since Open

	mu   sync.Mutex // guards the rest
	c    counts
	last map[store.KeyID]LastUse
	loss loss

	locate func(netip.Addr) Country // never nil
}

func newSpill(locate func(netip.Addr) Country) *spill {
	return &spill{c: newCounts(), last: make(map[store.KeyID]LastUse), locate: locate}
}

func (s *spill) take(o *Observation, ns uint64, flags byte) {
	if flags&recEvent != 0 {
		s.lost.Add(1)
	}
	is := traits{country: CountryOf(o.Country), method: methodCode(o.Method), status: o.Status}
	if is.country == (Country{}) {
		is.country = s.locate(o.Client)
	}
	if o.Type == store.Live {
		is.marks |= markLive
	}
	if o.failed() {
		is.marks |= markFailed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if flags&recEvent != 0 {
		if flags&recDenied != 0 {
			s.loss.denials++
		} else {
			s.loss.requests++
		}
	}
	if flags&recUsed != 0 {
		id := o.user()
		if _, ok := s.last[id]; ok || len(s.last) < maxRows {
			s.last[store.KeyID(clip(string(id), maxName))] = LastUse{At: at(ns), IP: o.Client, Country: is.country}
		}
	}
	if flags&recCounted == 0 {
		return
	}
	s.c.scratch = binary.BigEndian.AppendUint32(s.c.scratch[:0], minuteOf(ns))
	s.c.scratch = appendRow(s.c.scratch, string(o.Account), string(o.Key), o.Environment, o.Route, is)
	t := tallyOf(o.Status, o.Code != "", uint64(max(o.Units, 0)), uint64(max(o.Cost, 0)))
	if o.wouldRefuse() {
		t.would = 1
	}
	if !s.c.add(t, maxRows) {
		s.loss.uncounted++
	}
}

// drain empties s. What it returns is the caller's: s fills no map of it again.
func (s *spill) drain() (rows map[string]*tally, last map[store.KeyID]LastUse, l loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.c.rows) > 0 {
		rows, s.c.rows = s.c.rows, make(map[string]*tally)
	}
	if len(s.last) > 0 {
		last, s.last = s.last, make(map[store.KeyID]LastUse)
	}
	l, s.loss = s.loss, loss{}
	return rows, last, l
}
