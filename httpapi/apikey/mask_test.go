package apikey

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMask(t *testing.T) {
	const key, hint = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", "pk_live_0123…STUV"
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"no key", "no key"},
		{key, hint},
		{"leaked: " + key + ".", "leaked: " + hint + "."},
		{key + key, hint + hint},
		{"pk_pk_live_pk_" + key + "x", "pk_pk_live_pk_" + hint + "x"},
		{key[:Len-1], key[:Len-1]},
		{key[:Len-1] + "0", key[:Len-1] + "0"}, // no key: its checksum is wrong
	} {
		if got := Mask(c.in); got != c.want {
			t.Errorf("Mask(%q) = %q, want %q", c.in, got, c.want)
		}
		if got := Holds(c.in); got != (c.in != c.want) {
			t.Errorf("Holds(%q) = %v", c.in, got)
		}
	}
}

func TestMaskAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := New(rapid.SampledFrom([]string{LivePrefix, TestPrefix}).Draw(t, "prefix"))
		s := rapid.String().Draw(t, "before") + key + rapid.String().Draw(t, "after")
		if got := Mask(s); strings.Contains(got, key[prefixLen:]) || !strings.Contains(got, Hint(key)) {
			t.Fatalf("Mask(%q) = %q", s, got)
		}
	})
}
