package invisible

import (
	"fmt"
	"strings"
	"unicode"
)

// blanks are characters without an image that Unicode does not class as formats:
// fillers, inherent vowels and the grapheme joiner.
const blanks = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"

// firstJoining is the first character after which a joiner or a variation selector
// has a use: the scripts from Hebrew on and emoji. After a letter of Latin, Greek or
// Cyrillic it only makes two names look alike.
const firstJoining = '\u0590'

// In names the first character of s with which two texts could look alike, or be shown
// in another order than they are: control characters but those in except, line
// separators, zero-width characters (U+200B, U+FEFF), directions of writing, and joiners
// that join nothing. It returns "" if there is none.
func In(s, except string) string {
	before := rune(0)
	for _, r := range s {
		if is(r, before) && !strings.ContainsRune(except, r) {
			return fmt.Sprintf("U+%04X", r)
		}
		before = r
	}
	return ""
}

func is(r, before rune) bool {
	switch {
	case r == '\u200c', r == '\u200d', unicode.Is(unicode.Variation_Selector, r):
		return before < firstJoining
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
		return true
	}
	return strings.ContainsRune(blanks, r)
}
