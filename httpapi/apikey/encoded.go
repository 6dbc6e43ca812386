package apikey

import "strings"

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
		plain := unescape(s)
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

// unescape decodes every well-formed %XX and leaves the rest, as lenient servers do.
func unescape(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi < 16 && lo < 16 {
				out = append(out, hi<<4|lo)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// unhex is the value of the hexadecimal digit c, or 255.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}
