package ids

import (
	"math"
	"math/big"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAlphabet(t *testing.T) {
	if len(Alphabet) != 62 || !sort.StringsAreSorted(strings.Split(Alphabet, "")) {
		t.Error("the digits are not 62 in the order of their bytes")
	}
	for c := range 256 {
		if s := string([]byte{byte(c)}); Valid(s) != strings.Contains(Alphabet, s) {
			t.Errorf("Valid(%q) is %v", s, Valid(s))
		}
	}
	if !Valid("") || Valid("abc-d") || Valid("é") {
		t.Error("Valid looks at other things than the bytes")
	}
}

func TestAppend(t *testing.T) {
	for _, tc := range []struct {
		v     uint64
		width int
		want  string
	}{
		{0, 0, ""},
		{0, 4, "0000"},
		{61, 1, "z"},
		{62, 2, "10"},
		{62, 1, "0"}, // the lowest digits
		{62*62*62 + 5, 4, "1005"},
		{math.MaxUint64, Uint64Len, "LygHa16AHYF"},
	} {
		if got := string(Append([]byte("x"), tc.v, tc.width)); got != "x"+tc.want {
			t.Errorf("Append(%d, %d) = %q, want %q", tc.v, tc.width, got, tc.want)
		}
	}
}

// Append agrees with arithmetic, and texts sort as their numbers do.
func TestAppendAgreesWithBig(t *testing.T) {
	text := func(v uint64) string { return string(Append(nil, v, Uint64Len)) }
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		sum := new(big.Int)
		for _, c := range text(a) {
			sum.Add(sum.Mul(sum, big.NewInt(62)), big.NewInt(int64(strings.IndexRune(Alphabet, c))))
		}
		if !sum.IsUint64() || sum.Uint64() != a {
			t.Fatalf("%d is written as %q", a, text(a))
		}
		if (a < b) != (text(a) < text(b)) {
			t.Fatalf("%q and %q do not sort like %d and %d", text(a), text(b), a, b)
		}
	})
}

func TestNew(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		id := New("acct_")
		body, ok := strings.CutPrefix(id, "acct_")
		if !ok || len(body) != Len || !Valid(body) || seen[id] {
			t.Fatalf("New returned %q", id)
		}
		seen[id] = true
	}
}

// A source's ids have the form of New's, and no two are equal, whoever asks.
func TestSource(t *testing.T) {
	src := NewSource("req_")
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 * sourceIDs {
				id := src.New()
				mu.Lock()
				if len(id) != len(New("req_")) || !strings.HasPrefix(id, "req_") || !Valid(id[len("req_"):]) || seen[id] {
					t.Errorf("id %q", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 20*sourceIDs {
		t.Errorf("%d different ids, want %d", len(seen), 20*sourceIDs)
	}
}

func TestNewSorted(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	before := NewSorted("key_", at)
	for i := range 100 {
		at = at.Add(time.Duration(i+1) * time.Millisecond)
		id := NewSorted("key_", at)
		if len(id) != len("key_")+Len || !Valid(id[len("key_"):]) {
			t.Fatalf("NewSorted returned %q", id)
		}
		if id <= before {
			t.Fatalf("%q does not sort after %q", id, before)
		}
		before = id
	}
	one, other := NewSorted("", at), NewSorted("", at)
	if one[:8] != other[:8] || one == other {
		t.Errorf("%q and %q of one millisecond", one, other)
	}
	if last := NewSorted("", time.Date(8888, 1, 1, 0, 0, 0, 0, time.UTC)); last <= before {
		t.Errorf("%q of the year 8888 sorts before %q", last, before)
	}
}

// Every digit is equally likely: with 62,000 draws a digit is expected 1,000 times
// and is off by 250 with a chance below 1 in 10^12.
func TestRandomIsUniform(t *testing.T) {
	n := map[rune]int{}
	for _, c := range Random(62_000) {
		n[c]++
	}
	for _, c := range Alphabet {
		if n[c] < 750 || n[c] > 1250 {
			t.Errorf("%q was drawn %d times in 62,000", c, n[c])
		}
	}
	if len(n) != len(Alphabet) {
		t.Errorf("%d different digits", len(n))
	}
}
