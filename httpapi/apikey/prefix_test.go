package apikey

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPrefixes(t *testing.T) {
	for key, want := range map[string]string{
		New(LivePrefix):                     LivePrefix,
		New(TestPrefix):                     TestPrefix,
		"sk-proj-0123456789abcdef":          "sk-proj-",
		"sk_live_0123456789abcdef":          "sk_live_",
		"ghp_0123456789abcdefghij":          "ghp_",
		"xoxb-1234567890-0987654321":        "xoxb-",   // a number is no word
		"a-b-c-d-0123456789abcdef":          "a-b-c-",  // three words at most
		"v2.key:0123456789abcdef":           "v2.key:", // every separator
		"AKIAIOSFODNN7EXAMPLE":              "AKIA",    // no separator
		"0123456789abcdef":                  "0123",    // no letter
		"overlongword_0123456789":           "over",    // a word of 12
		"legacyapp-0123456789":              "lega",    // of 9
		"-sk-0123456789abcdef":              "-sk-",    // begins with no word
		strings.Repeat("a-", 7) + "bb":      "a-a-a-",
		"sk-live-":                          "sk-", // 4 bytes are left
		"ab":                                "ab",
		"":                                  "",
		"pk_live_short0000":                 LivePrefix, // not our form, but its prefix
		"pk_live_" + strings.Repeat("x", 9): "pk_live_",
	} {
		if got := Prefix(key); got != want {
			t.Errorf("Prefix(%q) = %q, want %q", key, got, want)
		}
	}
}

// Every key has a prefix that is short, and that shows no more than the prefix.
func TestPrefixOfAny(t *testing.T) {
	visible := rapid.StringOf(rapid.RuneFrom([]rune("abzAZ09_-.:+/=~!")))
	rapid.Check(t, func(t *rapid.T) {
		key := visible.Draw(t, "key")
		got := Prefix(key)
		if !strings.HasPrefix(key, got) || len(got) > prefixWords*(prefixWord+1) {
			t.Fatalf("Prefix(%q) = %q", key, got)
		}
		if Parse(key) == Foreign && (len(got) < 2 || len(key)-len(got) < prefixBare) {
			t.Fatalf("Prefix(%q) = %q leaves %d bytes", key, got, len(key)-len(got))
		}
	})
}
