package pack

import (
	"encoding/binary"
	"time"
)

// Text is a type that holds a text.
type Text interface{ ~string | ~[]byte }

// Append appends the length of s and s.
func Append[T Text](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendBool appends v as one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendTime appends t with its nanoseconds, in any year: one zero byte for the
// zero time, else a one, the seconds since 1970 and the nanoseconds.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return AppendUnix(append(b, 1), t)
}

// AppendUnix appends the seconds since 1970 as a varint and the nanoseconds as a
// uvarint.
func AppendUnix(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}
