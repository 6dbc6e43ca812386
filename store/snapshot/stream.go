package snapshot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/perfgate/perfgate/store/pack"
)

// A stream is a header, frames of rows, and an end:
//
//	header  magic 8 · index 8 · CRC of both 4
//	frame   length 4 (> 0) · CRC 4 · rows: key and value, each after its length (uvarint)
//	end     0 4 · CRC 4 · number of rows 8
//
// Numbers are big-endian, CRCs are CRC-32C. A frame's CRC continues the one
// before it, the first begins at 0, so frames missing or exchanged show; the
// end's covers the number of rows. The index in the header is outside of that
// chain: [Store.Open] puts the snapshot's own there.
const (
	magic      = "PGROWS1\n"
	headerSize = 8 + 8 + 4
	frameSize  = 64 << 10 // a frame is closed when it has this many bytes
	maxFrame   = 1 << 30  // the largest that a reader accepts; a frame holds at least one whole row
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged is wrapped by every error about a stream that differs from the written one.
var ErrDamaged = errors.New("snapshot is damaged")

func header(index uint64) []byte {
	h := binary.BigEndian.AppendUint64([]byte(magic), index)
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// encoder turns rows into a stream, a frame at a time.
type encoder struct {
	rows []byte
	crc  uint32
	n    uint64
}

// add appends a row and reports whether the frame should be closed.
func (e *encoder) add(key, value []byte) bool {
	e.rows = pack.Append(e.rows, key)
	e.rows = pack.Append(e.rows, value)
	e.n++
	return len(e.rows) >= frameSize
}

// frame appends the frame of the rows added since the last one to dst.
func (e *encoder) frame(dst []byte) []byte {
	if len(e.rows) == 0 {
		return dst
	}
	e.crc = crc32.Update(e.crc, castagnoli, e.rows)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.rows)))
	dst = binary.BigEndian.AppendUint32(dst, e.crc)
	dst = append(dst, e.rows...)
	e.rows = e.rows[:0]
	return dst
}

// end appends the last frame and the end to dst.
func (e *encoder) end(dst []byte) []byte {
	dst = e.frame(dst)
	n := binary.BigEndian.AppendUint64(nil, e.n)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Update(e.crc, castagnoli, n))
	return append(dst, n...)
}

// Reader reads the rows of a stream in ascending order of their keys.
type Reader struct {
	src   *bufio.Reader
	index uint64
	frame bytes.Buffer
	rows  pack.Reader[[]byte] // over frame
	crc   uint32
	n     uint64
	prev  []byte
	done  bool
}

// NewReader reads the stream's header.
func NewReader(src io.Reader) (*Reader, error) {
	r := &Reader{src: bufio.NewReaderSize(src, frameSize)}
	var h [headerSize]byte
	if _, err := io.ReadFull(r.src, h[:]); err != nil {
		return nil, short(err)
	}
	r.index = binary.BigEndian.Uint64(h[8:])
	if !bytes.Equal(h[:], header(r.index)) {
		return nil, fmt.Errorf("%w: header", ErrDamaged)
	}
	return r, nil
}

// Index is the Raft index up to which every entry is part of the rows.
func (r *Reader) Index() uint64 { return r.index }

// Next returns the next row; key and value are valid until the next call. At the
// end, and only if all of the stream was there and nothing follows, it is io.EOF.
func (r *Reader) Next() (key, value []byte, err error) {
	if r.done {
		return nil, nil, io.EOF
	}
	if len(r.rows.Rest()) == 0 {
		if err := r.next(); err != nil {
			return nil, nil, err
		}
	}
	key, value = r.rows.Text(), r.rows.Text()
	if r.rows.Bad() {
		return nil, nil, fmt.Errorf("%w: row %d", ErrDamaged, r.n)
	}
	if r.n > 0 && bytes.Compare(r.prev, key) >= 0 {
		return nil, nil, fmt.Errorf("%w: row %d is out of order", ErrDamaged, r.n)
	}
	r.prev = append(r.prev[:0], key...)
	r.n++
	return key, value, nil
}

func (r *Reader) next() error {
	var h [8]byte
	if _, err := io.ReadFull(r.src, h[:]); err != nil {
		return short(err)
	}
	size, crc := binary.BigEndian.Uint32(h[:]), binary.BigEndian.Uint32(h[4:])
	if size == 0 {
		return r.finish(crc)
	}
	if size > maxFrame {
		return fmt.Errorf("%w: frame of %d bytes", ErrDamaged, size)
	}
	r.frame.Reset()
	// CopyN grows with the bytes that are there, not with the length that is claimed.
	if _, err := io.CopyN(&r.frame, r.src, int64(size)); err != nil {
		return short(err)
	}
	if r.crc = crc32.Update(r.crc, castagnoli, r.frame.Bytes()); r.crc != crc {
		return fmt.Errorf("%w: checksum after row %d", ErrDamaged, r.n)
	}
	r.rows = pack.NewReader(r.frame.Bytes())
	return nil
}

func (r *Reader) finish(crc uint32) error {
	var n [8]byte
	if _, err := io.ReadFull(r.src, n[:]); err != nil {
		return short(err)
	}
	if crc32.Update(r.crc, castagnoli, n[:]) != crc || binary.BigEndian.Uint64(n[:]) != r.n {
		return fmt.Errorf("%w: number of rows", ErrDamaged)
	}
	if _, err := r.src.ReadByte(); err == nil {
		return fmt.Errorf("%w: bytes after its end", ErrDamaged)
	} else if err != io.EOF {
		return err
	}
	r.done = true
	return io.EOF
}

// short is a stream that ends too early, or another read error.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	return err
}
