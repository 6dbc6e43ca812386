package snapshot

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// rows streams a checkpoint, or the rows of one iterator.
type rows struct {
	db  *pebble.DB   // shared; nil for an iterator alone
	end func() error // releases db
	it  *pebble.Iterator
	as  func(key, value []byte) ([]byte, error) // the value to stream; nil streams what is there
	enc encoder
	out []byte // the frame encoded last
	buf []byte // the part of it that is not read yet
	ok  bool
}

// checkpoints are those that are open for reading. Pebble opens a directory once at a
// time, and Raft reads a snapshot for each follower that needs it.
type checkpoints struct {
	mu   sync.Mutex
	open map[string]*shared // by directory
}

type shared struct {
	db      *pebble.DB
	readers int
}

// rows opens the checkpoint in dir for reading, together with its other readers.
func (c *checkpoints) rows(options func() *pebble.Options, dir string) (*rows, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.open[dir]
	if s == nil {
		o := options()
		o.ReadOnly = true
		db, err := pebble.Open(dir, o)
		if err != nil {
			return nil, fmt.Errorf("open checkpoint %q: %w", dir, err)
		}
		s = &shared{db: db}
		c.open[dir] = s
	}
	s.readers++
	return &rows{db: s.db, end: sync.OnceValue(func() error { return c.leave(dir, s) })}, nil
}

func (c *checkpoints) leave(dir string, s *shared) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.readers--; s.readers > 0 {
		return nil
	}
	delete(c.open, dir)
	return s.db.Close()
}

// Stream streams all that it sees, as the state at index, with the values that as makes of
// those of the rows. Closing the stream closes it, which must not be used otherwise.
func Stream(it *pebble.Iterator, index uint64, as func(key, value []byte) ([]byte, error)) io.ReadCloser {
	r := &rows{as: as}
	r.begin(it, index)
	return r
}

// rewind begins a stream for the given index.
func (r *rows) rewind(index uint64) error {
	if r.it != nil {
		if err := r.it.Close(); err != nil {
			return err
		}
	}
	it, err := r.db.NewIter(nil)
	if err != nil {
		return err
	}
	r.begin(it, index)
	return it.Error()
}

// begin puts the header in front of it's rows; a fault of it is seen by fill.
func (r *rows) begin(it *pebble.Iterator, index uint64) {
	r.it, r.enc = it, encoder{}
	r.out = append(r.out[:0], header(index)...)
	r.buf = r.out
	r.ok = it.First()
}

// size counts the bytes of the stream; Raft announces them to the receiver.
func (r *rows) size() (int64, error) {
	if err := r.rewind(0); err != nil {
		return 0, err
	}
	return io.Copy(io.Discard, struct{ io.Reader }{r})
}

// Read implements io.Reader.
func (r *rows) Read(p []byte) (int, error) {
	if len(r.buf) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// fill encodes the next frame, or the end.
func (r *rows) fill() error {
	if r.it == nil {
		return io.EOF
	}
	for full := false; r.ok && !full; r.ok = r.it.Next() {
		v, err := r.it.ValueAndErr()
		if err == nil && r.as != nil {
			v, err = r.as(r.it.Key(), v)
		}
		if err != nil {
			return err
		}
		full = r.enc.add(r.it.Key(), v)
	}
	if r.ok {
		r.out = r.enc.frame(r.out[:0])
		r.buf = r.out
		return nil
	}
	err := errors.Join(r.it.Error(), r.it.Close())
	r.it = nil
	if err != nil {
		return err // without an end, the reader sees that rows are missing
	}
	r.out = r.enc.end(r.out[:0])
	r.buf = r.out
	return nil
}

// Close releases the checkpoint.
func (r *rows) Close() error {
	var err error
	if r.it != nil {
		err = r.it.Close()
		r.it = nil
	}
	if r.db != nil {
		err = errors.Join(err, r.end())
	}
	return err
}

// Writer writes a stream row by row.
type Writer struct {
	w   io.Writer
	enc encoder
	out []byte
}

// NewWriter begins a stream of the state at index on w.
func NewWriter(w io.Writer, index uint64) (*Writer, error) {
	_, err := w.Write(header(index))
	return &Writer{w: w}, err
}

// Add writes the next row; keys ascend.
func (w *Writer) Add(key, value []byte) error {
	if !w.enc.add(key, value) {
		return nil
	}
	w.out = w.enc.frame(w.out[:0])
	_, err := w.w.Write(w.out)
	return err
}

// Close writes the rest and the end. Without it the stream is not whole.
func (w *Writer) Close() error {
	w.out = w.enc.end(w.out[:0])
	_, err := w.w.Write(w.out)
	return err
}
