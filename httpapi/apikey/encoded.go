package apikey

import (
	"strings"

	"github.com/perfgate/perfgate/httpapi/pattern"
)

// maxDecodings bounds how often a text is percent-decoded in search of a key.
const maxDecodings = 8

// maskEncoded replaces each run of s that may be an encoded key and holds one by the hint
// of the key. An encoded key is within one run, however often it was encoded.
func maskEncoded(s string) string {
	if !mayHide(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		end := strings.IndexFunc(s, func(r rune) bool { return r > '~' || !inRun(byte(r)) })
		if end < 0 {
			end = len(s)
		}
		b.WriteString(maskRun(s[:end]))
		s = s[end:]
		next := strings.IndexFunc(s, func(r rune) bool { return r <= '~' && inRun(byte(r)) })
		if next < 0 {
			next = len(s)
		}
		b.WriteString(s[:next])
		s = s[next:]
	}
	return b.String()
}

// maskRun is maskEncoded of one run. Its text beside the key goes, too: decoded, it may
// have characters that it had not.
func maskRun(run string) string {
	plain, found := unhide(run)
	if !found {
		return run
	}
	if at := find(plain, 0); at >= 0 {
		return Hint(plain[at : at+Len])
	}
	return "…"
}

// unhide percent-decodes s until a key shows in it, and reports whether one does. A text
// that is encoded too often has something to hide, and counts as one with a key.
func unhide(s string) (plain string, found bool) {
	if !longRun(s) {
		return s, false // neither a key nor what mayHide looks for
	}
	for range maxDecodings {
		if find(s, 0) >= 0 {
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

// longRun reports whether s has at least Len characters of runs in a row. Most texts are
// words that are much shorter, of which it looks at the last characters only: a window
// of Len characters in which one belongs to no run leads to the next window behind it.
func longRun(s string) bool {
	for from := 0; len(s)-from >= Len; {
		i := from + Len - 1
		for i >= from && runs[s[i]] {
			i--
		}
		if i < from {
			return true
		}
		from = i + 1
	}
	return false
}

func inRun(c byte) bool { return runs[c] }

// runs has the characters of keys and of percent-encodings.
var runs = func() (in [1 << 8]bool) {
	for c := range in {
		in[c] = '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '%'
	}
	return in
}()
