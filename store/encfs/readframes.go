package encfs

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// frameReader reads a log or a whole file, frame by frame.
type frameReader struct {
	vfs.File
	name string
	aead cipher.AEAD // nil for a log without a header, which is empty
	log  bool

	mu     sync.Mutex // guards the rest
	pos    int64      // of Read
	at     int64      // where the next frame begins in the file
	number uint32     // of the next frame
	from   int64      // plaintext offset of frame
	frame  []byte     // plaintext of the frame before at
	sealed []byte     // buffer for one frame
	ended  bool       // at is the end
	end    int64      // of the content in the file, once ended
}

// parsed is the head of a frame.
type parsed struct {
	length uint32 // of the plaintext
	kind   byte
	number uint32
	synced uint64
}

// parseFrame reads the head of a frame, of which nothing can be trusted yet. ok is false
// if no frame begins so.
func parseFrame(head []byte) (p parsed, ok bool) {
	if len(head) < frameHead {
		return p, false
	}
	p = parsed{binary.BigEndian.Uint32(head), kindFrame, binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint64(head[8:])}
	if p.length == endMark {
		p.length, p.kind = 8, kindEnd
	}
	return p, p.length <= maxFrame
}

// size is the number of bytes that the frame takes in the file.
func (p *parsed) size() int64 { return frameHead + int64(p.length) + tagSize }

// open decrypts the frame that begins at raw, in place. ok is false if it is not whole.
func (r *frameReader) open(raw []byte, number uint32) (plain []byte, p parsed, ok bool) {
	p, ok = parseFrame(raw)
	if !ok || p.number != number || int64(len(raw)) < p.size() {
		return nil, p, false
	}
	n := pieceNonce(p.kind, uint64(p.number))
	sealed := raw[frameHead:p.size()]
	plain, err := r.aead.Open(sealed[:0], n[:], sealed, raw[:frameHead])
	return plain, p, err == nil
}

// read returns the bytes of the file from off, as many as the longest frame has at most.
func (r *frameReader) read(off int64) ([]byte, error) {
	if len(r.sealed) < frameHead {
		r.sealed = make([]byte, 4<<10)
	}
	n, err := readAt(r.File, r.sealed[:frameHead], off)
	if err != nil || n < frameHead {
		return r.sealed[:n], err
	}
	p, ok := parseFrame(r.sealed)
	if !ok {
		return r.sealed[:n], nil
	}
	if size := int(p.size()); len(r.sealed) < size {
		r.sealed = append(make([]byte, 0, size), r.sealed[:frameHead]...)[:size]
	}
	more, err := readAt(r.File, r.sealed[frameHead:p.size()], off+frameHead)
	return r.sealed[:n+more], err
}

// next decrypts the next frame. At the end it sets ended; an error is damage or a fault
// of the disk.
func (r *frameReader) next() error {
	raw, err := r.read(r.at)
	if err != nil {
		return err
	}
	present := len(raw) > 0
	plain, p, ok := r.open(raw, r.number)
	if !ok && r.log && present {
		if ok, err = r.contradicted(); err != nil {
			return err
		}
		if ok { // a writer has finished the frame meanwhile, or it is damaged
			if raw, err = r.read(r.at); err != nil {
				return err
			}
			if plain, p, ok = r.open(raw, r.number); !ok {
				return r.damaged("the frame %d does not authenticate although it was durable", r.number)
			}
		}
	}
	r.from += int64(len(r.frame))
	r.frame = r.frame[:0]
	switch {
	case !ok && r.log:
		r.ended, r.end = true, r.at // a crash interrupted the writer here, or it still writes
	case !ok && present:
		return r.damaged("the frame %d does not authenticate", r.number)
	case !ok:
		return r.damaged("it was cut: its end is missing")
	case p.kind == kindEnd:
		return r.finish(plain, p)
	default:
		r.frame = plain
		r.at += p.size()
		r.number++
	}
	return nil
}

// finish checks the end of a file that was closed.
func (r *frameReader) finish(plain []byte, p parsed) error {
	if got := binary.BigEndian.Uint64(plain); got != uint64(r.from) {
		return r.damaged("it has %d bytes, and %d were written", r.from, got)
	}
	info, err := r.File.Stat()
	if err != nil {
		return err
	}
	r.ended, r.end = true, r.at+p.size()
	if info.Size() != r.end {
		return r.damaged("%d bytes follow its end", info.Size()-r.end)
	}
	return nil
}

// witness bounds the bytes that are looked at in one step of contradicted.
const witness = 1 << 20

// contradicted looks for a later frame which says that the one at r.at was durable. Its
// place is unknown, since the length of the one at r.at cannot be trusted: every offset
// is tried. The head of a frame has 16 bytes of which almost all are known, so that
// hardly any other bytes need to be decrypted.
func (r *frameReader) contradicted() (bool, error) {
	info, err := r.File.Stat()
	if err != nil {
		return false, err
	}
	longest := frameHead + maxFrame + tagSize
	buf := make([]byte, min(int64(witness+longest), max(0, info.Size()-r.at)))
	var scratch []byte
	for off := r.at; ; off += witness {
		n, err := readAt(r.File, buf, off)
		if err != nil || n == 0 {
			return false, err
		}
		for i := range min(n, witness) {
			p, ok := parseFrame(buf[i:n])
			if !ok || p.number < r.number || p.number-r.number > witnessed || p.synced <= uint64(r.at) || p.synced > maxLog {
				continue
			}
			scratch = append(scratch[:0], buf[i:min(int64(n), int64(i)+p.size())]...)
			if _, _, ok := r.open(scratch, p.number); ok {
				return true, nil
			}
		}
	}
}

// Bounds of a frame that may be a witness: frames after the damaged one, and bytes before
// it. A log has some megabytes.
const (
	witnessed = 1 << 24
	maxLog    = 1 << 40
)

func (r *frameReader) damaged(format string, args ...any) error {
	return &DamageError{Path: r.name, Reason: fmt.Sprintf(format, args...)}
}

// Read implements [vfs.File].
func (r *frameReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.readAt(p, r.pos)
	r.pos += int64(n)
	return n, err
}

// readAt returns bytes of the frame that contains off, or [io.EOF].
func (r *frameReader) readAt(p []byte, off int64) (int, error) {
	if off < r.from { // back: the frames are found from the first one on
		r.at, r.number, r.from, r.frame, r.ended = headerSize, 0, 0, r.frame[:0], r.aead == nil
	}
	for off >= r.from+int64(len(r.frame)) {
		if r.ended && !r.more() {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	return copy(p, r.frame[off-r.from:]), nil
}

// more tells a reader of a log at its end to look again: it may be written meanwhile.
func (r *frameReader) more() bool {
	if r.aead == nil || !r.log || r.end != r.at {
		return false
	}
	info, err := r.File.Stat()
	if err != nil || info.Size() <= r.at {
		return false
	}
	raw, err := r.read(r.at)
	if err != nil {
		return false
	}
	if _, _, ok := r.open(raw, r.number); !ok {
		return false
	}
	r.ended = false
	return true
}

// ReadAt implements [vfs.File]. It is made for readers that go forward.
func (r *frameReader) ReadAt(p []byte, off int64) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < 0 {
		return 0, fmt.Errorf("read %q at the offset %d", r.name, off)
	}
	for n < len(p) && err == nil {
		var got int
		got, err = r.readAt(p[n:], off+int64(n))
		n += got
	}
	return n, err
}

// Stat implements [vfs.File]. A closed file says its size at its end; the frames of
// another log are counted.
func (r *frameReader) Stat() (vfs.FileInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := r.File.Stat()
	if err != nil {
		return nil, err
	}
	if size, ok := r.closed(info.Size()); ok {
		return sized{info, size}, nil
	}
	if r.aead == nil {
		return sized{info, 0}, nil
	}
	counting := &frameReader{File: r.File, name: r.name, aead: r.aead, log: r.log, at: headerSize}
	for !counting.ended {
		if err := counting.next(); err != nil {
			return nil, err
		}
	}
	return sized{info, counting.from}, nil
}

// closed reads the end of a closed file; ok is false if there is none.
func (r *frameReader) closed(size int64) (plain int64, ok bool) {
	if r.aead == nil || size < headerSize+endFrame {
		return 0, false
	}
	var raw [endFrame]byte
	if n, err := readAt(r.File, raw[:], size-endFrame); err != nil || n < endFrame {
		return 0, false
	}
	p, ok := parseFrame(raw[:])
	if !ok || p.kind != kindEnd || r.log && int64(p.synced) < size-endFrame-markFrame {
		return 0, false // a crash may have taken frames before it
	}
	out, _, ok := r.open(raw[:], p.number)
	if !ok {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(out)), true
}

// Preallocate implements [vfs.File].
func (r *frameReader) Preallocate(int64, int64) error { return vfs.ErrUnsupported }

// Prefetch implements [vfs.File].
func (r *frameReader) Prefetch(off, length int64) error {
	return r.File.Prefetch(headerSize+off, length)
}

// Write implements [vfs.File].
func (r *frameReader) Write([]byte) (int, error) { return 0, vfs.ErrUnsupported }

// WriteAt implements [vfs.File].
func (r *frameReader) WriteAt([]byte, int64) (int, error) { return 0, errWriteAt }
