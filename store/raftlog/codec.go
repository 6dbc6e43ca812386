package raftlog

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// format is the first byte of every encoded entry.
const format = 1

var errMalformed = errors.New("malformed log entry")

// Append appends l to dst: the format byte, the type byte, index and term
// (uvarint), the time of appending (seconds since 1970 as a varint and
// nanoseconds as a uvarint), then extensions and data, each with a uvarint
// length before it.
func Append(dst []byte, l *raft.Log) []byte {
	dst = append(dst, format, byte(l.Type))
	dst = binary.AppendUvarint(dst, l.Index)
	dst = binary.AppendUvarint(dst, l.Term)
	dst = binary.AppendVarint(dst, l.AppendedAt.Unix())
	dst = binary.AppendUvarint(dst, uint64(l.AppendedAt.Nanosecond()))
	dst = binary.AppendUvarint(dst, uint64(len(l.Extensions)))
	dst = append(dst, l.Extensions...)
	dst = binary.AppendUvarint(dst, uint64(len(l.Data)))
	return append(dst, l.Data...)
}

// Decode reads what Append wrote. The entry does not share memory with src.
// Bytes that are missing or left over are an error.
func Decode(src []byte, l *raft.Log) error {
	if len(src) < 2 || src[0] != format {
		return errMalformed
	}
	d := decoder{rest: src[2:]}
	typ := raft.LogType(src[1])
	index, term := d.uvarint(), d.uvarint()
	sec, nsec := d.varint(), d.uvarint()
	ext, data := d.bytes(), d.bytes()
	if d.bad || len(d.rest) != 0 || nsec >= uint64(time.Second) {
		return errMalformed
	}
	*l = raft.Log{
		Index: index, Term: term, Type: typ,
		Data: data, Extensions: ext,
		AppendedAt: time.Unix(sec, int64(nsec)).UTC(),
	}
	return nil
}

type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	return advance(d, v, n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	return advance(d, v, n)
}

func advance[T uint64 | int64](d *decoder, v T, n int) T {
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// bytes reads a length and that many bytes; none are nil.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	var out []byte
	if n > 0 {
		out = append(out, d.rest[:n]...)
	}
	d.rest = d.rest[n:]
	return out
}
