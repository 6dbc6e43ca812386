package encfs

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// batchSize bounds the sealed bytes that a writer holds back or writes at once: 16 blocks.
const batchSize = headerSize + 16*sealedSize

var (
	errReadWriter = errors.New("an encrypted file cannot be read through the handle that writes it")
	errWriteAt    = errors.New("an encrypted file cannot be written at an offset")
)

// writing holds the parts that files being written share. They belong to the writer.
type writing struct {
	vfs.File
	aead cipher.AEAD
	at   int64 // bytes in the file below, header included
	size int64 // bytes of plaintext
	// err is the first failure. The content of the file is unknown after it, and a piece
	// that was sealed may be in the file: nothing more is sealed.
	err error

	fs   *FS
	salt [saltSize]byte
}

// end closes the file below after err, the result of writing its end.
func (w *writing) end(err error) error {
	err = errors.Join(err, w.File.Close())
	w.fs.written(w.salt)
	return err
}

func (w *writing) put(p []byte) error {
	if w.err != nil {
		return w.err
	}
	n, err := w.File.Write(p)
	w.at += int64(n)
	w.err = err
	return err
}

// Read implements [vfs.File].
func (w *writing) Read([]byte) (int, error) { return 0, errReadWriter }

// ReadAt implements [vfs.File].
func (w *writing) ReadAt([]byte, int64) (int, error) { return 0, errReadWriter }

// WriteAt implements [vfs.File].
func (w *writing) WriteAt([]byte, int64) (int, error) { return 0, errWriteAt }

// Stat implements [vfs.File].
func (w *writing) Stat() (vfs.FileInfo, error) {
	info, err := w.File.Stat()
	if err != nil {
		return nil, err
	}
	return sized{info, w.size}, nil
}

// blockWriter writes a file of blocks.
type blockWriter struct {
	writing
	number uint64
	out    []byte // sealed, or the header, not yet written
	rest   []byte // plaintext that fills no block yet
}

// Write implements [vfs.File].
func (w *blockWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if w.err != nil {
			return total - len(p), w.err
		}
		n := min(blockSize-len(w.rest), len(p))
		if len(w.rest) == 0 && n == blockSize {
			w.seal(kindBlock, p[:n])
		} else if w.rest = append(w.rest, p[:n]...); len(w.rest) == blockSize {
			w.seal(kindBlock, w.rest)
			w.rest = w.rest[:0]
		}
		p = p[n:]
		w.size += int64(n)
		if len(w.out)+sealedSize > batchSize {
			if err := w.flush(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

func (w *blockWriter) seal(kind byte, plain []byte) {
	n := pieceNonce(kind, w.number)
	w.out = w.aead.Seal(w.out, n[:], plain, nil)
	w.number++
}

func (w *blockWriter) flush() error {
	err := w.put(w.out)
	w.out = w.out[:0]
	return err
}

// Sync implements [vfs.File]. The file cannot be read before it is closed, so Close makes
// it durable, with one fsync instead of two.
func (w *blockWriter) Sync() error { return w.err }

// SyncData implements [vfs.File].
func (w *blockWriter) SyncData() error { return w.Sync() }

// SyncTo implements [vfs.File].
func (w *blockWriter) SyncTo(length int64) (bool, error) {
	return w.File.SyncTo(min(headerSize+length/blockSize*sealedSize, w.at))
}

// Preallocate implements [vfs.File].
func (w *blockWriter) Preallocate(off, length int64) error {
	from, to := preallocated(off, length)
	return w.File.Preallocate(from, to-from)
}

// preallocated is the range of a file of blocks for the plaintext range off, length; the
// first one includes the header.
func preallocated(off, length int64) (from, to int64) {
	grown := func(n int64) int64 { return headerSize + (n+blockSize-1)/blockSize*sealedSize }
	if from = grown(off); off == 0 {
		from = 0
	}
	return from, grown(off + length)
}

// Close implements [vfs.File].
func (w *blockWriter) Close() error {
	w.seal(kindLast, w.rest)
	err := w.flush()
	if err == nil {
		err = w.File.Sync()
	}
	return w.end(err)
}

// frameWriter writes a log or a whole file.
type frameWriter struct {
	writing
	log    bool
	number uint32
	synced int64 // bytes of the file that are durable
	marked int64 // at, after the last mark
	out    []byte
}

// Write implements [vfs.File].
func (w *frameWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(done+4*maxFrame, len(p))]
		w.out = w.out[:0]
		for rest := part; len(rest) > 0; {
			n := min(len(rest), maxFrame)
			w.seal(kindFrame, uint32(n), rest[:n])
			rest = rest[n:]
		}
		if err := w.put(w.out); err != nil {
			return done, err
		}
		done += len(part)
		w.size += int64(len(part))
	}
	return done, nil
}

// seal appends a frame to out.
func (w *frameWriter) seal(kind byte, length uint32, plain []byte) {
	var head [frameHead]byte
	binary.BigEndian.PutUint32(head[:], length)
	binary.BigEndian.PutUint32(head[4:], w.number)
	binary.BigEndian.PutUint64(head[8:], uint64(w.synced))
	n := pieceNonce(kind, uint64(w.number))
	w.out = append(w.out, head[:]...)
	w.out = w.aead.Seal(w.out, n[:], plain, head[:])
	if w.number++; w.number == 0 {
		w.err = errors.New("an encrypted file has too many frames")
	}
}

// Sync implements [vfs.File].
func (w *frameWriter) Sync() error { return w.sync(w.File.Sync) }

// SyncData implements [vfs.File].
func (w *frameWriter) SyncData() error { return w.sync(w.File.SyncData) }

func (w *frameWriter) sync(do func() error) error {
	if !w.log || w.err != nil {
		return w.err // Close makes a whole file durable
	}
	if w.err = do(); w.err != nil {
		return w.err
	}
	w.synced = w.at
	return w.mark()
}

// mark appends an empty frame, which says that the frames before it are durable. It need
// not become durable itself: without it, damage to the newest durable frame could not be
// told from a crash.
func (w *frameWriter) mark() error {
	if w.at == w.marked || w.number == 0 {
		return nil
	}
	w.out = w.out[:0]
	w.seal(kindFrame, 0, nil)
	err := w.put(w.out)
	w.marked = w.at
	return err
}

// SyncTo implements [vfs.File]. The frames before the offset take at least as many bytes
// as their plaintext.
func (w *frameWriter) SyncTo(length int64) (bool, error) {
	at := w.at
	full, err := w.File.SyncTo(min(headerSize+length, at))
	if full && err == nil {
		w.synced = at
	}
	return full, err
}

// Preallocate implements [vfs.File].
func (w *frameWriter) Preallocate(off, length int64) error {
	if off == 0 {
		return w.File.Preallocate(0, headerSize+length)
	}
	return w.File.Preallocate(headerSize+off, length)
}

// Close implements [vfs.File].
func (w *frameWriter) Close() error {
	w.out = w.out[:0]
	w.seal(kindEnd, endMark, binary.BigEndian.AppendUint64(nil, uint64(w.size)))
	err := w.put(w.out)
	if err == nil && !w.log {
		err = w.File.Sync()
	}
	return w.end(err)
}
