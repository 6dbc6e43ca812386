package apikey

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store/ids"
)

func TestVector(t *testing.T) {
	const body = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV"
	if got := Checksum(body); got != "1j90KZ" {
		t.Fatalf("Checksum = %q, want 1j90KZ", got)
	}
	if got := Hint(body + "1j90KZ"); got != "pk_live_0123…STUV" {
		t.Fatalf("Hint = %q", got)
	}
}

func TestParse(t *testing.T) {
	good := New(LivePrefix)
	for _, c := range []struct {
		name, in string
		want     Form
	}{
		{"new live", good, Native},
		{"new test", New(TestPrefix), Native},
		{"cut", good[:Len-1], Foreign},
		{"other case of the prefix", "PK" + good[2:], Foreign},
		{"foreign", "sk-abcdefghijklmnop", Foreign},
		{"short", "pk_live_short", Malformed},
		{"empty", "", Malformed},
		{"long", strings.Repeat("a", MaxForeignLen+1), Malformed},
		{"space inside", "abcdefgh ijklmnopq", Malformed},
		{"control", "abcdefgh\x00ijklmnopq", Malformed},
		{"not ASCII", "abcdefghijklmnöpqrst", Malformed},
	} {
		if got := Parse(c.in); got != c.want {
			t.Errorf("%s: Parse(%q) = %d, want %d", c.name, c.in, got, c.want)
		}
	}
}

// A single wrong character is always noticed: CRC-32 detects every burst of up to 32 bits.
func TestOneWrongCharacter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := []byte(New(TestPrefix))
		i := rapid.IntRange(prefixLen, Len-1).Draw(t, "i")
		c := ids.Alphabet[rapid.IntRange(0, 61).Draw(t, "c")]
		if key[i] == c {
			return
		}
		key[i] = c
		if got := Parse(string(key)); got != BadSum {
			t.Fatalf("Parse(%q) = %d after changing byte %d", key, got, i)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ")
	f.Add("pk_test_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, s string) {
		if Parse(s) == Native && Checksum(s[:Len-checksumLen]) != s[Len-checksumLen:] {
			t.Fatalf("%q is native with a wrong checksum", s)
		}
		if h := Hint(s); (h == "") != (Parse(s) == Malformed) || len(h) > prefixLen+8+len("…") {
			t.Fatalf("Hint(%q) = %q", s, h)
		}
	})
}
