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
	_, found := unhide(s)
	return found
}

// MaskEncoded is [Mask], and nothing but the hint of the key is left of a text that holds
// one in percent-encoding: decoded, the rest may have characters that s had not.
func MaskEncoded(s string) string {
	plain, found := unhide(s)
	switch at := find(plain, 0); {
	case !found:
		return s
	case plain == s && at >= 0:
		return MaskEncoded(Mask(s)) // it may hold an encoded one, too
	case at >= 0:
		return Hint(plain[at : at+Len])
	}
	return "…"
}

// unhide percent-decodes s until a key shows in it, and reports whether one does. A text
// that is encoded too often has something to hide, and counts as one with a key.
func unhide(s string) (plain string, found bool) {
	if len(s) < Len {
		return s, false
	}
	for range maxDecodings {
		if Holds(s) {
			return s, true
		}
		if !mayHide(s) {
			return s, false
		}
		next := pattern.Unescape(s)
		if next == s {
			return s, false
		}
		s = next
	}
	return s, true
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
