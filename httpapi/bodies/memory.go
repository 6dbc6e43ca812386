package bodies

import (
	"errors"
	"io"
	"sync"
	"time"
)

// Max is the memory of a node for held bodies, in bytes.
const Max = 128 << 20

// The shares of a memory: one holder gets at most 1/2 of it. Operators find 1/16 more
// than others, so that they are not locked out.
const (
	holderShare   = 2
	operatorShare = 16
)

// Operators is the holder of the bodies that operators send.
const Operators = "operators"

// The pieces that bodies are read in, in bytes. Most bodies fit into the first one.
const (
	firstPiece = 4 << 10
	nextPiece  = 64 << 10
)

// bodyTime bounds how long a body of less than [unit] may take to arrive, and a larger one
// for each [unit] of it: a client that sends a byte now and then would keep its part of the
// memory, and its connection, from all others.
const (
	bodyTime = 10 * time.Second
	unit     = 1 << 20
)

// Time is how long a body may take to arrive, of the announced length, -1 if that is not
// known, and of at most limit bytes.
func Time(announced, limit int64) time.Duration {
	if announced < 0 {
		announced = limit
	}
	return bodyTime * time.Duration(1+announced/unit)
}

// ErrFull refuses a body for which there is no credit left.
var ErrFull = errors.New("too many bodies are held in memory")

// ErrTooLarge refuses a body above its own bound.
var ErrTooLarge = errors.New("the body is larger than allowed")

// Memory is a bound on the bytes of bodies that are held at once. It is safe for
// concurrent use.
type Memory struct {
	max    int64
	pieces sync.Pool // of *[nextPiece]byte

	mu      sync.Mutex
	held    int64
	by      map[string]int64 // holders with some: at most one for each body
	refused int64
}

// NewMemory returns a memory of max bytes.
func NewMemory(max int64) *Memory {
	return &Memory{
		max: max, by: map[string]int64{},
		pieces: sync.Pool{New: func() any { return new([nextPiece]byte) }},
	}
}

// Held returns the bytes that are held now, and the number of bodies that were
// refused since the start.
func (m *Memory) Held() (bytes, refused int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held, m.refused
}

// take gives holder n bytes of credit and reports whether there were so many.
func (m *Memory) take(holder string, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	most := m.max
	if holder == Operators {
		most += m.max / operatorShare
	}
	if m.held+n > most || m.by[holder]+n > m.max/holderShare {
		m.refused++
		return false
	}
	m.held += n
	m.by[holder] += n
	return true
}

func (m *Memory) giveBack(holder string, n int64) {
	if n == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held -= n
	if m.by[holder] -= n; m.by[holder] == 0 {
		delete(m.by, holder)
	}
}

// Held is a body in memory.
type Held struct {
	Bytes []byte

	memory *Memory
	holder string
	credit int64
}

// Read reads a body of at most limit bytes to its end; announced is its length, -1
// if that is not known. The caller must release the result. The error is ErrFull,
// ErrTooLarge or that of r, and then nothing is held.
func (m *Memory) Read(r io.Reader, holder string, announced, limit int64) (*Held, error) {
	h := &Held{memory: m, holder: holder}
	if err := h.read(r, announced, limit); err != nil {
		h.Release()
		return nil, err
	}
	return h, nil
}

func (h *Held) take(n int64) error {
	if !h.memory.take(h.holder, n) {
		return ErrFull
	}
	h.credit += n
	return nil
}

func (h *Held) read(r io.Reader, announced, limit int64) error {
	size := int64(firstPiece)
	if announced >= 0 {
		size = min(size, announced+1) // one more, to meet the end
	}
	if err := h.take(size); err != nil {
		return err
	}
	piece := make([]byte, 0, size)
	var full [][]byte // the first one, then pieces of the pool
	defer func() {
		if len(full) > 0 {
			h.recycle(append(full[1:], piece))
		}
	}()
	for total := int64(0); ; {
		n, err := r.Read(piece[len(piece):cap(piece)])
		piece = piece[:len(piece)+n]
		total += int64(n)
		switch {
		case total > limit:
			return ErrTooLarge
		case err == io.EOF && len(full) == 0:
			h.Bytes = piece
			return nil
		case err == io.EOF:
			return h.join(append(full, piece), total)
		case err != nil:
			return err
		case len(piece) == cap(piece):
			if err := h.take(nextPiece); err != nil {
				return err
			}
			full = append(full, piece)
			piece = h.memory.pieces.Get().(*[nextPiece]byte)[:0]
		}
	}
}

// join makes one of the pieces, which are held for as long as that takes.
func (h *Held) join(pieces [][]byte, total int64) error {
	before := h.credit
	if err := h.take(total); err != nil {
		return err
	}
	h.Bytes = make([]byte, 0, total)
	for _, p := range pieces {
		h.Bytes = append(h.Bytes, p...)
	}
	h.credit -= before
	h.memory.giveBack(h.holder, before)
	return nil
}

func (h *Held) recycle(pieces [][]byte) {
	for _, p := range pieces {
		if cap(p) == nextPiece {
			h.memory.pieces.Put((*[nextPiece]byte)(p[:nextPiece]))
		}
	}
}

// Replace makes p the body. Its credit is adjusted and may exceed the bound by the
// difference, which callers keep small.
func (h *Held) Replace(p []byte) {
	more := int64(cap(p)) - h.credit
	h.memory.mu.Lock()
	h.memory.held += more
	h.memory.by[h.holder] += more
	h.memory.mu.Unlock()
	h.credit += more
	h.Bytes = p
}

// Release gives the memory back. A nil Held holds nothing, and a second call does
// nothing. Bytes must not be used any more.
func (h *Held) Release() {
	if h == nil {
		return
	}
	h.memory.giveBack(h.holder, h.credit)
	h.credit, h.Bytes = 0, nil
}
