package encfs

import (
	"crypto/cipher"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// plainSize is the size of the plaintext in sealed bytes of blocks. For a file that was
// cut it is as good as any: it cannot be opened.
func plainSize(sealed int64) int64 {
	return max(sealed, 0)/sealedSize*blockSize + max(0, max(sealed, 0)%sealedSize-tagSize)
}

// blockReader reads a file of blocks. ReadAt may be called from any goroutine.
type blockReader struct {
	vfs.File
	name   string
	aead   cipher.AEAD
	sealed int64 // bytes after the header
	pos    int64 // of Read
}

// readBatch bounds the blocks that are read at once.
const readBatch = 16

// sealedBlocks are buffers of blocks being read.
var sealedBlocks = sync.Pool{New: func() any { return new([readBatch * sealedSize]byte) }}

func (r *blockReader) damaged(format string, args ...any) error {
	return &DamageError{Path: r.name, Reason: fmt.Sprintf(format, args...)}
}

// check authenticates the last block, which proves that nothing is missing behind it.
func (r *blockReader) check() error {
	var last [sealedSize]byte
	number := max(r.sealed, 0) / sealedSize
	sealed := last[:max(0, r.sealed-number*sealedSize)]
	if n, err := readAt(r.File, sealed, headerSize+number*sealedSize); err != nil {
		return err
	} else if n < len(sealed) || n < tagSize {
		return r.damaged("it was cut: its last block is missing")
	}
	return r.open(sealed[:0], sealed, uint64(number), kindLast)
}

// open decrypts a block into dst, which has room for it.
func (r *blockReader) open(dst, sealed []byte, number uint64, kind byte) error {
	n := pieceNonce(kind, number)
	if _, err := r.aead.Open(dst, n[:], sealed, nil); err != nil {
		return r.damaged("block %d does not authenticate", number)
	}
	return nil
}

// ReadAt implements [vfs.File].
func (r *blockReader) ReadAt(p []byte, off int64) (n int, err error) {
	size := plainSize(r.sealed)
	if off < 0 {
		return 0, fmt.Errorf("read %q at the offset %d", r.name, off)
	}
	if off >= size {
		return 0, io.EOF
	}
	short := int64(len(p)) > size-off
	if short {
		p = p[:size-off]
	}
	buf := sealedBlocks.Get().(*[readBatch * sealedSize]byte) //nolint:forcetypeassert // the pool has no others
	defer sealedBlocks.Put(buf)
	for len(p) > 0 {
		got, err := r.readSome(p, off, buf[:])
		n += got
		if err != nil {
			return n, err
		}
		p, off = p[got:], off+int64(got)
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// readSome reads the first blocks of the range, up to the size of buf. p is not empty
// and ends within the file.
func (r *blockReader) readSome(p []byte, off int64, buf []byte) (n int, err error) {
	first := off / blockSize
	count := min((off+int64(len(p))+blockSize-1)/blockSize-first, readBatch)
	from := first * sealedSize
	raw := buf[:min(count*sealedSize, r.sealed-from)]
	got, err := readAt(r.File, raw, headerSize+from)
	if err != nil {
		return 0, err
	}
	if got < len(raw) {
		return 0, r.damaged("it was cut while it was open")
	}
	last := r.sealed / sealedSize
	for number := first; len(raw) > 0 && n < len(p); number++ {
		sealed := raw[:min(sealedSize, len(raw))]
		raw = raw[len(sealed):]
		kind := byte(kindBlock)
		if number == last {
			kind = kindLast
		}
		skip := int(max(0, off-number*blockSize))
		plain := len(sealed) - tagSize
		if skip == 0 && len(p)-n >= plain {
			if err := r.open(p[n:n], sealed, uint64(number), kind); err != nil {
				return n, err
			}
			n += plain
			continue
		}
		if err := r.open(sealed[:0], sealed, uint64(number), kind); err != nil {
			return n, err
		}
		n += copy(p[n:], sealed[skip:plain])
	}
	return n, nil
}

// Read implements [vfs.File].
func (r *blockReader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Stat implements [vfs.File].
func (r *blockReader) Stat() (vfs.FileInfo, error) {
	info, err := r.File.Stat()
	if err != nil {
		return nil, err
	}
	return sized{info, plainSize(r.sealed)}, nil
}

// Prefetch implements [vfs.File].
func (r *blockReader) Prefetch(off, length int64) error {
	from := headerSize + off/blockSize*sealedSize
	to := headerSize + (off+length+blockSize-1)/blockSize*sealedSize
	return r.File.Prefetch(from, to-from)
}

// Write implements [vfs.File].
func (r *blockReader) Write([]byte) (int, error) { return 0, vfs.ErrUnsupported }

// WriteAt implements [vfs.File].
func (r *blockReader) WriteAt([]byte, int64) (int, error) { return 0, errWriteAt }
