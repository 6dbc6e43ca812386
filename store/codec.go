package store

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"
)

// The packed form of rows: a version byte, then fields in a fixed order without
// names. Numbers are varints, strings and lists carry their length in front.
// Rows are written by apply alone, but a reader never trusts them: what cannot
// be decoded is errPacked, not a panic.

var errPacked = errors.New("row is damaged: it cannot be decoded")

func packString[S ~string](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func packStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = packString(b, s)
	}
	return b
}

func packBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// packTime keeps nanoseconds and any year; the zero time is one zero byte.
func packTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = append(b, 1)
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

func packOptional[N ~int64](b []byte, n *N) []byte {
	if n == nil {
		return append(b, 0)
	}
	return binary.AppendVarint(append(b, 1), int64(*n))
}

func packLimits(b []byte, l *Limits) []byte {
	if l == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	b = packOptional(b, l.PerMinute)
	b = packOptional(b, l.Burst)
	return packOptional(b, l.PerMonth)
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
// After the first fault every read answers zero, and err says so.
type unpacker struct {
	row string
	bad bool
}

func (u *unpacker) fail() { u.row, u.bad = "", true }

// err is errPacked after a fault, or when bytes are left over.
func (u *unpacker) err() error {
	if u.bad || u.row != "" {
		return errPacked
	}
	return nil
}

func (u *unpacker) byte() byte {
	if u.row == "" {
		u.fail()
		return 0
	}
	c := u.row[0]
	u.row = u.row[1:]
	return c
}

// version reads the leading version byte and faults on any but want.
func (u *unpacker) version(want byte) {
	if u.byte() != want {
		u.fail()
	}
}

func (u *unpacker) bool() bool {
	c := u.byte()
	if c > 1 {
		u.fail()
	}
	return c == 1
}

func (u *unpacker) uvarint() uint64 {
	var n uint64
	for i := range len(u.row) {
		c := u.row[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			u.row = u.row[i+1:]
			return n
		}
	}
	u.fail()
	return 0
}

func (u *unpacker) varint() int64 {
	n := u.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (u *unpacker) string() string {
	n := u.uvarint()
	if n > uint64(len(u.row)) {
		u.fail()
		return ""
	}
	s := u.row[:n]
	u.row = u.row[n:]
	return s
}

// count reads the length of a list whose items take at least one byte each, so
// that a damaged length cannot ask for more memory than the row is long.
func (u *unpacker) count() int {
	n := u.uvarint()
	if n > uint64(len(u.row)) {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *unpacker) strings() []string {
	n := u.count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = u.string()
	}
	return list
}

func (u *unpacker) time() time.Time {
	if !u.bool() {
		return time.Time{}
	}
	sec, nsec := u.varint(), u.uvarint()
	if nsec > 999_999_999 {
		u.fail()
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func unpackOptional[N ~int64](u *unpacker) *N {
	if !u.bool() {
		return nil
	}
	n := N(u.varint())
	return &n
}

func (u *unpacker) limits() *Limits {
	if !u.bool() {
		return nil
	}
	return &Limits{
		PerMinute: unpackOptional[int64](u),
		Burst:     unpackOptional[int64](u),
		PerMonth:  unpackOptional[int64](u),
	}
}

func (u *unpacker) prefixes() []netip.Prefix {
	n := u.count()
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
	n := int(u.byte())
	if n >= len(u.row) {
		u.fail()
		return netip.Prefix{}
	}
	var raw [16]byte
	var addr netip.Addr
	switch copy(raw[:], u.row[:n]); n {
	case 4:
		addr = netip.AddrFrom4([4]byte(raw[:4]))
	case 16:
		addr = netip.AddrFrom16(raw)
	default:
		u.fail()
		return netip.Prefix{}
	}
	u.row = u.row[n:]
	p := netip.PrefixFrom(addr, int(u.byte()))
	if !p.IsValid() {
		u.fail()
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
