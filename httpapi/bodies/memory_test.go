package bodies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// A body comes back as it was sent, whatever its length and however it arrives.
func TestRead(t *testing.T) {
	m := NewMemory(8 << 20)
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 100, firstPiece - 1, firstPiece, firstPiece + 1, firstPiece + nextPiece, 300_000, 1 << 20} {
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(random.Uint32())
		}
		for _, announced := range []int64{-1, int64(n)} {
			for name, r := range map[string]io.Reader{
				"at once": bytes.NewReader(want), "in halves": iotest.HalfReader(bytes.NewReader(want)),
				"with the end": iotest.DataErrReader(bytes.NewReader(want)),
			} {
				h, err := m.Read(r, "a", announced, 1<<20)
				if err != nil || !bytes.Equal(h.Bytes, want) {
					t.Fatalf("%d bytes, %s, announced %d: %v", n, name, announced, err)
				}
				if held, _ := m.Held(); held < int64(n) || held > int64(n+firstPiece) {
					t.Errorf("%d bytes are counted as %d", n, held)
				}
				h.Release()
				h.Release()
			}
		}
	}
	if held, refused := m.Held(); held != 0 || refused != 0 || len(m.by) != 0 {
		t.Errorf("%d bytes are still held by %v, %d bodies were refused", held, m.by, refused)
	}
}

// A failed read holds nothing.
func TestReadFails(t *testing.T) {
	m := NewMemory(1 << 20)
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		r     io.Reader
		limit int64
		want  error
	}{
		"too large":          {strings.NewReader(strings.Repeat("x", 1001)), 1000, ErrTooLarge},
		"too large, pieces":  {strings.NewReader(strings.Repeat("x", 200_001)), 200_000, ErrTooLarge},
		"broken at once":     {iotest.ErrReader(broken), 1000, broken},
		"broken half-way":    {io.MultiReader(strings.NewReader(strings.Repeat("x", 200_000)), iotest.ErrReader(broken)), 1 << 20, broken},
		"no credit":          {strings.NewReader(strings.Repeat("x", 600_000)), 1 << 20, ErrFull},
		"no credit to join":  {strings.NewReader(strings.Repeat("x", 300_000)), 1 << 20, ErrFull},
		"as large as it may": {strings.NewReader(strings.Repeat("x", 200_000)), 200_000, nil},
	} {
		h, err := m.Read(tt.r, "a", -1, tt.limit)
		if !errors.Is(err, tt.want) || (h != nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		h.Release()
		if held, _ := m.Held(); held != 0 {
			t.Errorf("%s: %d bytes are still held", name, held)
		}
	}
}

// stalled sends n bytes and then waits for end.
type stalled struct {
	left int
	sent chan<- struct{}
	end  <-chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.sent <- struct{}{}
		<-s.end
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), s.left)
	s.left -= n
	return n, nil
}

// Bodies that stop short of their end fill the memory to its bound and no further;
// one holder gets half of it, and the rest is for others.
func TestStalledBodies(t *testing.T) {
	const size, most = 256 << 10, 8 << 20
	m := NewMemory(most)
	sent, end, failed := make(chan struct{}), make(chan struct{}), make(chan error)
	open := func(holder string) error {
		go func() {
			_, err := m.Read(&stalled{size - 92, sent, end}, holder, size, size)
			failed <- err
		}()
		select {
		case <-sent:
			return nil
		case err := <-failed:
			return err
		}
	}
	waiting := 0
	for i := range 200 {
		if err := open("a"); err == nil {
			waiting++
		} else if !errors.Is(err, ErrFull) {
			t.Fatalf("body %d: %v", i, err)
		}
	}
	if held, refused := m.Held(); held > most/holderShare || waiting < most/holderShare/(size+2*nextPiece) || refused != int64(200-waiting) {
		t.Errorf("%d bodies of one holder have %d bytes, %d are refused", waiting, held, refused)
	}
	for i := range 200 {
		if err := open(fmt.Sprint("holder ", i)); err == nil {
			waiting++
		}
	}
	if held, _ := m.Held(); held > most || held < most-2*size {
		t.Errorf("%d bytes are held by many, the bound is %d", held, most)
	}
	if err := open(Operators); err != nil {
		t.Errorf("an operator is locked out: %v", err)
	} else {
		waiting++
	}
	close(end)
	for range waiting {
		<-failed
	}
	if held, _ := m.Held(); held != 0 || len(m.by) != 0 {
		t.Errorf("%d bytes are held by %v after the end", held, m.by)
	}
}

// A body that was changed counts by its new size.
func TestReplace(t *testing.T) {
	m := NewMemory(1 << 20)
	h, err := m.Read(strings.NewReader("{}"), "a", 2, 100)
	if err != nil {
		t.Fatal(err)
	}
	h.Replace(make([]byte, 1000))
	if held, _ := m.Held(); held != 1000 || len(h.Bytes) != 1000 {
		t.Errorf("%d bytes are held", held)
	}
	h.Release()
	if held, _ := m.Held(); held != 0 {
		t.Errorf("%d bytes are held after the end", held)
	}
}
