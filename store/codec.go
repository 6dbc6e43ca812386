package store

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/store/pack"
)

// The packed form of rows: a version byte, then fields in a fixed order, as in
// package pack. Rows are written by apply alone, but a reader never trusts them:
// one that cannot be decoded is errPacked, not a panic.

var errPacked = errors.New("row is damaged: it cannot be decoded")

func packStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = pack.Append(b, s)
	}
	return b
}

func packOptional[N ~int64](b []byte, n *N) []byte {
	if n == nil {
		return append(b, 0)
	}
	return binary.AppendVarint(append(b, 1), int64(*n))
}

// The forms of packed limits; 0 is none.
const (
	limitsForm       = 1
	limitsConcurrent = 2 // with MaxConcurrent, which levels below LevelOfRules cannot read
)

func packLimits(b []byte, l *Limits) []byte {
	if l == nil {
		return append(b, 0)
	}
	form := byte(limitsForm)
	if l.MaxConcurrent != nil {
		form = limitsConcurrent
	}
	b = append(b, form)
	b = packOptional(b, l.PerMinute)
	b = packOptional(b, l.Burst)
	b = packOptional(b, l.PerMonth)
	if l.MaxConcurrent != nil {
		b = binary.AppendVarint(b, *l.MaxConcurrent)
	}
	return b
}

func packPrefixes(b []byte, list []netip.Prefix) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, p := range list {
		b = packPrefix(b, p)
	}
	return b
}

// packPrefix writes the address (its length tells the family) and the bits.
func packPrefix(b []byte, p netip.Prefix) []byte {
	addr := p.Addr().AsSlice()
	b = append(b, byte(len(addr)))
	b = append(b, addr...)
	return append(b, byte(p.Bits()))
}

// unpacker reads a packed row. Strings that it returns share the row's memory.
type unpacker struct{ pack.Reader[string] }

func unpack(row string) unpacker { return unpacker{pack.NewReader(row)} }

// err is errPacked after a fault, or when bytes are left over.
func (u *unpacker) err() error {
	if u.Err() != nil {
		return errPacked
	}
	return nil
}

func (u *unpacker) strings() []string {
	n := u.Count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = u.Text()
	}
	return list
}

func unpackOptional[N ~int64](u *unpacker) *N {
	if !u.Bool() {
		return nil
	}
	n := N(u.Varint())
	return &n
}

func (u *unpacker) limits() *Limits {
	form := u.Byte()
	if form > limitsConcurrent {
		u.Fail()
	}
	if form == 0 || u.Bad() {
		return nil
	}
	l := &Limits{
		PerMinute: unpackOptional[int64](u),
		Burst:     unpackOptional[int64](u),
		PerMonth:  unpackOptional[int64](u),
	}
	if form == limitsConcurrent {
		n := u.Varint()
		l.MaxConcurrent = &n
	}
	return l
}

func (u *unpacker) prefixes() []netip.Prefix {
	n := u.Count()
	if n == 0 {
		return nil
	}
	list := make([]netip.Prefix, n)
	for i := range list {
		list[i] = u.prefix()
	}
	return list
}

func (u *unpacker) prefix() netip.Prefix {
	var addr netip.Addr
	switch raw := u.Take(uint64(u.Byte())); len(raw) {
	case 4, 16:
		addr, _ = netip.AddrFromSlice([]byte(raw))
	default:
		u.Fail()
	}
	p := netip.PrefixFrom(addr, int(u.Byte()))
	if u.Bad() || !p.IsValid() {
		u.Fail()
		return netip.Prefix{}
	}
	return p
}

// unixNano is t for a [Record]: 0 for never, clamped where 64 bits of
// nanoseconds do not reach (before 1678: long past; after 2262: not in our time).
func unixNano(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(time.Unix(0, 1)):
		return 1
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}
