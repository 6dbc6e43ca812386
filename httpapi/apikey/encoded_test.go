package apikey

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// encoded is s with some of its characters percent-encoded: those that pick chooses.
func encoded(s string, pick func() bool) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '%' || pick():
			fmt.Fprintf(&b, "%%%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// A key is found whichever of its characters are encoded, as often as that is undone.
func TestHoldsEncodedAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(rapid.SampledFrom([]string{LivePrefix, TestPrefix}).Draw(t, "prefix"))
		for range rapid.IntRange(0, maxDecodings).Draw(t, "times") {
			s = encoded(s, func() bool { return rapid.Bool().Draw(t, "encode") })
		}
		if s = "/a?b=" + s + "&c"; !Holds(s) {
			t.Fatalf("no key in %q", s)
		}
	})
}

func TestHoldsEncoded(t *testing.T) {
	const key = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	all := func() bool { return true }
	for s, want := range map[string]bool{
		"":                                       false,
		"%70":                                    false,
		key:                                      true,
		key + "%":                                true,
		key + "%zz%":                             true,
		encoded(key, all):                        true,
		strings.ToUpper(encoded(key, all)):       true,
		encoded(key[:Len-1], all):                false,
		encoded(key[:Len-1]+"0", all):            false, // its checksum is wrong
		strings.Repeat("%20", Len):               false,
		strings.Repeat("%zz", Len):               false,
		"%" + strings.Repeat("25", 30) + "70":    true, // encoded too often to be looked into
		strings.Repeat("a", Len) + "%" + "2525":  false,
		strings.Replace(key, "p", "%7", 1) + "0": false,
	} {
		if got := Holds(s); got != want {
			t.Errorf("Holds(%q) = %v", s, got)
		}
	}
	s := encoded(key, all)
	for range 2 * maxDecodings {
		if s = encoded(s, func() bool { return false }); !Holds(s) {
			t.Fatalf("no key in %q", s)
		}
	}
}

// The search in windows finds what the search through all characters does.
func TestLongRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			b.WriteString(strings.Repeat(rapid.SampledFrom([]string{"a", "Z", "9", "_", "%"}).Draw(t, "of"), rapid.OneOf(rapid.IntRange(0, 8), rapid.IntRange(Len-2, Len+2)).Draw(t, "length")))
			b.WriteString(rapid.SampledFrom([]string{"", "&", "=", "-", "{", "@", "\x7f", "\xe1"}).Draw(t, "after"))
		}
		s, longest, n := b.String(), 0, 0
		for i := range len(s) {
			n++
			if c := s[i]; c != '_' && c != '%' && !strings.ContainsRune("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", rune(c)) {
				n = 0
			}
			longest = max(longest, n)
		}
		if got := longRun(s); got != (longest >= Len) {
			t.Fatalf("%q: %v, the longest run has %d", s, got, longest)
		}
	})
}

// Nothing of a key's secret part is left, however it is encoded; other texts stay, and so
// does the text around it.
func TestMaskEncoded(t *testing.T) {
	const key, hint = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", "pk_live_0123…STUV"
	all := func() bool { return true }
	often := key
	for range maxDecodings {
		often = encoded(often, all)
	}
	for s, want := range map[string]string{
		"":                            "",
		"curl/8 100%":                 "curl/8 100%",
		"curl " + key:                 "curl " + hint,
		"curl " + encoded(key, all):   "curl " + hint,
		"%0a" + encoded(key, all):     hint,
		key + " " + encoded(key, all): hint + " " + hint,
		encoded(key, all) + " " + key: hint + " " + hint,
		"50 % of ü=" + encoded(key, all) + "&ä=50%": "50 % of ü=" + hint + "&ä=50%",
		key + encoded(key, all):                     "pk_live_0123…" + hint, // the rest of the first hint is part of the run
		often:                                       hint,
		encoded(often, all):                         "…",
		encoded(key[:Len-1]+"0", all):               encoded(key[:Len-1]+"0", all), // its checksum is wrong
		strings.Repeat("%41", 2*Len):                strings.Repeat("%41", 2*Len),
	} {
		if got := Mask(s); got != want {
			t.Errorf("Mask(%.200q) = %.200q, want %.200q", s, got, want)
		}
	}
}

func TestMaskEncodedAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(LivePrefix)
		for range rapid.IntRange(0, maxDecodings).Draw(t, "times") {
			s = encoded(s, func() bool { return rapid.Bool().Draw(t, "encode") })
		}
		s = rapid.String().Draw(t, "before") + s + rapid.String().Draw(t, "after")
		if got := Mask(s); Holds(got) {
			t.Fatalf("Mask(%q) = %q", s, got)
		}
	})
}
