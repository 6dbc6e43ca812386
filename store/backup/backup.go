package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
	"github.com/perfgate/perfgate/store/snapshot"
)

const (
	magic     = "PERFGATE-BACKUP 1\n"
	format    = 1
	maxHeader = 64 << 10
)

// errDamaged is wrapped by every error about a file that differs from the written one.
var errDamaged = errors.New("the backup is damaged")

// Header describes a backup; it is its first line.
type Header struct {
	Format    int       `json:"format"`
	ClusterID string    `json:"cluster_id"`
	Node      string    `json:"node"`       // that wrote it
	Version   string    `json:"version"`    // of perfgate
	Level     int       `json:"level"`      // see store.Level
	CreatedAt time.Time `json:"created_at"` // every write answered before is in it
	Applied   uint64    `json:"applied"`    // Raft index that the rows are at
	// Voters are the ids of the nodes with a vote; nil in a backup of an earlier version.
	Voters []string `json:"voters,omitzero"`
}

// Name is a file name for the backup: ordered by time, and safe everywhere.
func (h *Header) Name() string { return Name(h.ClusterID, h.CreatedAt) }

// Backup is a backup that is being taken.
type Backup struct {
	Header
	rows io.ReadCloser
}

// Begin takes the current state; h's members about the state are filled in.
// Close ends it.
func Begin(s *store.Store, h Header) (*Backup, error) {
	d, err := s.Dump()
	if err != nil {
		return nil, err
	}
	if d.ClusterID == "" {
		return nil, errors.Join(errors.New("there is no state yet to back up"), d.Close())
	}
	h.Format, h.Level, h.ClusterID, h.Applied = format, store.Level, d.ClusterID, d.Applied
	h.CreatedAt = h.CreatedAt.UTC()
	return &Backup{Header: h, rows: d}, nil
}

// Close lets go of the state.
func (b *Backup) Close() error { return b.rows.Close() }

// WriteTo writes the backup, once.
func (b *Backup) WriteTo(w io.Writer) (int64, error) {
	line, err := json.Marshal(&b.Header)
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	n, err := out.Write(append(append([]byte(magic), line...), '\n'))
	if err != nil {
		return int64(n), err
	}
	rows, err := io.Copy(out, b.rows)
	if err != nil {
		return int64(n) + rows, err
	}
	end, err := w.Write(sum.Sum(nil))
	return int64(n) + rows + int64(end), err
}

// Reader reads a backup. Its rows count only once Next has returned io.EOF.
type Reader struct {
	Header Header
	Sealed seal.Kind // how it was encrypted
	Rows   uint64    // read so far
	src    *summed
	rows   *snapshot.Reader
}

// NewReader reads a backup's header. with opens it if it is sealed, and is otherwise not
// looked at.
func NewReader(src io.Reader, with seal.With) (*Reader, error) {
	r := new(Reader)
	plain, sealed, err := with.Open(bufio.NewReaderSize(src, 64<<10))
	switch {
	case err != nil && (sealed == seal.Plain || errors.Is(err, seal.ErrSecret)):
		return nil, err // the source cannot be read, or opened
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if r.Sealed = sealed; sealed != seal.Plain {
		plain = opened{plain}
	}
	peek := bufio.NewReaderSize(plain, 64<<10)
	switch got, err := peek.Peek(len(magic)); {
	case err != nil && err != io.EOF:
		return nil, broken(err)
	case string(got) == magic:
	case bytes.HasPrefix(got, []byte(magic[:len(magic)-2])):
		return nil, errors.New("its format is another one than this program knows: use a newer version")
	default:
		return nil, errors.New("this is no backup of perfgate's")
	}
	r.src = &summed{src: peek, sum: sha256.New()}
	head := bufio.NewReaderSize(r.src, maxHeader)
	if _, err := head.Discard(len(magic)); err != nil {
		return nil, broken(err)
	}
	line, err := head.ReadSlice('\n')
	if err != nil {
		return nil, broken(err)
	}
	if err := json.Unmarshal(line, &r.Header); err != nil { // members that come later pass
		return nil, fmt.Errorf("%w: its header: %w", errDamaged, err)
	}
	h := &r.Header
	switch {
	case h.Format != format || h.Level > store.Level:
		return nil, fmt.Errorf("it was written by perfgate %s in format %d, level %d; this program knows format %d and levels up to %d: use a newer version",
			h.Version, h.Format, h.Level, format, store.Level)
	case h.ClusterID == "" || h.CreatedAt.IsZero() || h.Level < 1:
		return nil, fmt.Errorf("%w: its header is incomplete", errDamaged)
	}
	if r.rows, err = snapshot.NewReader(head); err != nil {
		return nil, broken(err)
	}
	if r.rows.Index() != h.Applied {
		return nil, fmt.Errorf("%w: its rows are at another index than its header says", errDamaged)
	}
	return r, nil
}

// Next returns the next row, in ascending order; the slices are valid until the
// next call. It is io.EOF when, and only when, all of the backup was there.
func (r *Reader) Next() (key, value []byte, err error) {
	key, value, err = r.rows.Next()
	switch {
	case err == nil:
		r.Rows++
	case err != io.EOF:
		err = broken(err)
	case !r.src.whole:
		err = fmt.Errorf("%w: it ends too early", errDamaged)
	}
	return key, value, err
}

// bytes is how long the document was, once it is read, without its encryption.
func (r *Reader) bytes() int64 { return r.src.n }

// broken is a read error as one about the backup.
func broken(err error) error {
	switch {
	case errors.Is(err, errDamaged):
		return err
	case tooShort(err):
		return fmt.Errorf("%w: it ends too early", errDamaged)
	case errors.Is(err, snapshot.ErrDamaged), errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// opened is the content of a sealed file: every read error of it is damage.
type opened struct{ r io.Reader }

func (o opened) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return n, err
}

func tooShort(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// summed hands on all but the last 32 bytes, and ends well only if those are
// the sum of all bytes before it.
type summed struct {
	src   io.Reader
	sum   hash.Hash
	buf   [32 << 10]byte
	held  int // bytes in buf, read and not handed on
	n     int64
	whole bool
	err   error
}

func (s *summed) Read(p []byte) (int, error) {
	for s.held <= sha256.Size && s.err == nil {
		var n int
		n, s.err = s.src.Read(s.buf[s.held:])
		s.held += n
		s.n += int64(n)
	}
	if n := min(len(p), s.held-sha256.Size); n > 0 {
		copy(p, s.buf[:n])
		s.sum.Write(p[:n])
		s.held = copy(s.buf[:], s.buf[n:s.held])
		return n, nil
	}
	if s.err != io.EOF {
		return 0, s.err
	}
	if s.held != sha256.Size || !bytes.Equal(s.sum.Sum(nil), s.buf[:s.held]) {
		return 0, fmt.Errorf("%w: its checksum is wrong", errDamaged)
	}
	s.whole = true
	return 0, io.EOF
}
