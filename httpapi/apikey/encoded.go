package apikey

import (
	"strings"

	"github.com/perfgate/perfgate/httpapi/pattern"
)

// maxDecodings bounds how often a text is percent-decoded in search of a key.
const maxDecodings = 8

// HoldsEncoded is [Holds] of s and of each text that percent-decoding makes of s, decoded
// as often as lenient servers may do it. A text without a percent sign costs no more than
// Holds.
func HoldsEncoded(s string) bool {
	if len(s) < Len {
		return false
	}
	if Holds(s) {
		return true
	}
	for range maxDecodings {
		if !mayHide(s) {
			return false
		}
		plain := pattern.Unescape(s)
		if plain == s {
			return false
		}
		if s = plain; Holds(s) {
			return true
		}
	}
	return true // encoded that often, it has something to hide
}

// mayHide reports whether s has a percent sign in a run of at least Len characters
// of keys and of percent-encodings, as a key has that is encoded in part.
func mayHide(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0; {
		from, to := i, i+1
		for from > 0 && inRun(s[from-1]) {
			from--
		}
		for to < len(s) && inRun(s[to]) {
			to++
		}
		if to-from >= Len {
			return true
		}
		next := strings.IndexByte(s[to:], '%')
		if next < 0 {
			return false
		}
		i = to + next
	}
	return false
}

func inRun(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '%'
}
