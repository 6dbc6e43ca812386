package bodies

import (
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Bodies that come, grow and go in any order are counted as a sum of what each of them
// holds, and refused exactly where the memory or a holder's half of it is used up.
func TestMemoryLikeAddingUp(t *testing.T) {
	const most = 1 << 20
	rapid.Check(t, func(t *rapid.T) {
		m := NewMemory(most)
		var open []*Held
		refused := int64(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(open) > 0 && rapid.IntRange(0, 2).Draw(t, "release") == 0 {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				open[i].Release()
				open = append(open[:i], open[i+1:]...)
			} else {
				holder := rapid.SampledFrom([]string{"a", "b", "c", Operators}).Draw(t, "holder")
				n := rapid.IntRange(0, most/4).Draw(t, "bytes")
				h, err := m.Read(strings.NewReader(strings.Repeat("x", n)), holder, int64(n), most)
				if err == nil {
					open = append(open, h)
				} else if refused++; !errors.Is(err, ErrFull) {
					t.Fatal(err)
				} else if held, by := sum(open, holder); held+3*int64(n)+2*nextPiece < most && by+3*int64(n)+2*nextPiece < most/holderShare {
					t.Fatalf("%d bytes of %s were refused beside %d, %d of them its own", n, holder, held, by)
				}
			}
			all, _ := sum(open, "")
			if held, no := m.Held(); held != all || no != refused || held > most+most/operatorShare {
				t.Fatalf("%d bytes are held and %d bodies refused, want %d and %d", held, no, all, refused)
			}
			for _, holder := range []string{"a", "b", "c", Operators} {
				if _, by := sum(open, holder); by > most/holderShare {
					t.Fatalf("%s holds %d bytes", holder, by)
				}
			}
		}
	})
}

// sum is the credit of all bodies, and of those of one holder.
func sum(open []*Held, holder string) (all, by int64) {
	for _, h := range open {
		all += h.credit
		if h.holder == holder {
			by += h.credit
		}
	}
	return all, by
}

// Operators still find room where the others' is used up, and no more than their part.
func TestRoomOfOperators(t *testing.T) {
	const most = 1 << 20
	m := NewMemory(most)
	for _, holder := range []string{"a", "b"} {
		if !m.take(holder, most/2) {
			t.Fatalf("%s got no half", holder)
		}
	}
	if _, err := m.Read(strings.NewReader("{}"), "c", 2, 100); !errors.Is(err, ErrFull) {
		t.Errorf("another account: %v", err)
	}
	h, err := m.Read(strings.NewReader("{}"), Operators, 2, 100)
	if err != nil || string(h.Bytes) != "{}" {
		t.Fatalf("an operator: %v", err)
	}
	h.Release()
	if !m.take(Operators, most/operatorShare) || m.take(Operators, 1) {
		t.Error("operators have another part than 1/16 more")
	}
}

// A body that is longer than announced is read to its end, and its bound holds.
func TestAnnouncedLengthIsNoBound(t *testing.T) {
	m := NewMemory(1 << 20)
	h, err := m.Read(strings.NewReader("longer than it said"), "a", 3, 100)
	if err != nil || string(h.Bytes) != "longer than it said" {
		t.Fatalf("%v", err)
	}
	h.Release()
	if _, err := m.Read(io.LimitReader(strings.NewReader(strings.Repeat("x", 200)), 101), "a", 3, 100); !errors.Is(err, ErrTooLarge) {
		t.Errorf("101 bytes of 100: %v", err)
	}
}
