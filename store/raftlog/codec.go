package raftlog

import (
	"encoding/binary"
	"errors"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/pack"
)

// format is the first byte of every encoded entry.
const format = 1

var errMalformed = errors.New("malformed log entry")

// appendEntry appends l to dst: the format byte, the type byte, index and term
// (uvarint), the time of appending (seconds since 1970 as a varint and
// nanoseconds as a uvarint), then extensions and data, each with a uvarint
// length before it.
func appendEntry(dst []byte, l *raft.Log) []byte {
	dst = append(dst, format, byte(l.Type))
	dst = binary.AppendUvarint(dst, l.Index)
	dst = binary.AppendUvarint(dst, l.Term)
	dst = pack.AppendUnix(dst, l.AppendedAt)
	dst = pack.Append(dst, l.Extensions)
	return pack.Append(dst, l.Data)
}

// decodeEntry reads an entry of appendEntry. The entry does not share memory with src.
// Bytes that are missing or left over are an error.
func decodeEntry(src []byte, l *raft.Log) error {
	r := pack.NewReader(src)
	r.Version(format)
	out := raft.Log{Type: raft.LogType(r.Byte()), Index: r.Uvarint(), Term: r.Uvarint(), AppendedAt: r.Unix()}
	ext, data := r.Text(), r.Text()
	if r.Err() != nil {
		return errMalformed
	}
	out.Extensions, out.Data = copyOf(ext), copyOf(data)
	*l = out
	return nil
}

// copyOf is b in memory of its own; nil if it is empty.
func copyOf(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}
