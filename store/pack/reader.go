package pack

import (
	"encoding/binary"
	"errors"
	"time"
)

// errDamaged reports bytes that differ from the packed ones.
var errDamaged = errors.New("cannot be decoded: damaged, cut short or too long")

// Reader reads packed values from front to back. Texts share the memory of
// the input. After the first fault every read returns zero.
type Reader[T Text] struct {
	rest T
	bad  bool
}

// NewReader reads p.
func NewReader[T Text](p T) Reader[T] { return Reader[T]{rest: p} }

// Rest returns the bytes that are not read yet; none after a fault.
func (r *Reader[T]) Rest() T { return r.rest }

// Fail notes a fault: the values read cannot have been packed.
func (r *Reader[T]) Fail() {
	r.bad = true
	r.rest = r.rest[:0]
}

// Bad reports whether there was a fault.
func (r *Reader[T]) Bad() bool { return r.bad }

// Err is errDamaged after a fault, and when bytes are left over.
func (r *Reader[T]) Err() error {
	if r.bad || len(r.rest) != 0 {
		return errDamaged
	}
	return nil
}

// Byte reads one byte.
func (r *Reader[T]) Byte() byte {
	if len(r.rest) == 0 {
		r.Fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

// Version reads one byte, which must be v.
func (r *Reader[T]) Version(v byte) {
	if r.Byte() != v {
		r.Fail()
	}
}

// Bool reads a value of [AppendBool].
func (r *Reader[T]) Bool() bool {
	c := r.Byte()
	if c > 1 {
		r.Fail()
	}
	return c == 1
}

// Uvarint reads a value of [binary.AppendUvarint]. A number of more than 64
// bits is a fault.
func (r *Reader[T]) Uvarint() uint64 {
	var n uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.Fail()
	return 0
}

// Varint reads a value of [binary.AppendVarint].
func (r *Reader[T]) Varint() int64 {
	n := r.Uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

// Take reads n bytes.
func (r *Reader[T]) Take(n uint64) T {
	if n > uint64(len(r.rest)) {
		r.Fail()
		return r.rest[:0]
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// Text reads a value of [Append].
func (r *Reader[T]) Text() T { return r.Take(r.Uvarint()) }

// Count reads the length of a list with items of at least one byte each, so
// that a damaged length cannot ask for more memory than the input is long.
func (r *Reader[T]) Count() int {
	n := r.Uvarint()
	if n > uint64(len(r.rest)) {
		r.Fail()
		return 0
	}
	return int(n)
}

// Time reads a value of [AppendTime], in UTC.
func (r *Reader[T]) Time() time.Time {
	if !r.Bool() {
		return time.Time{}
	}
	return r.Unix()
}

// Unix reads a value of [AppendUnix], in UTC; the zero time after a fault.
func (r *Reader[T]) Unix() time.Time {
	sec, nsec := r.Varint(), r.Uvarint()
	if nsec >= uint64(time.Second) {
		r.Fail()
	}
	if r.bad {
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}
