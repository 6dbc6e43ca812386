package apikey

import "strings"

// Mask returns s with the hint of each key in place of the key, also of one that is
// percent-encoded. A key is a text that [Parse] calls native, wherever in s it stands;
// nothing else shows in a text that it is a secret. Most texts hold none, and are returned
// as they are.
func Mask(s string) string { return maskEncoded(maskPlain(s)) }

// Holds reports whether a key stands anywhere in s, or in a text that percent-decoding
// makes of s, decoded as often as lenient servers may do it. A text without a percent sign
// costs no more than a search.
func Holds(s string) bool {
	_, found := unhide(s)
	return found
}

func maskPlain(s string) string {
	at := find(s, 0)
	if at < 0 {
		return s
	}
	var b strings.Builder
	from := 0
	for ; at >= 0; at = find(s, from) {
		b.WriteString(s[from:at])
		b.WriteString(Hint(s[at : at+Len]))
		from = at + Len
	}
	b.WriteString(s[from:])
	return b.String()
}

// find returns the place of the first key at or after from, -1 if there is none.
func find(s string, from int) int {
	for from+Len <= len(s) {
		i := strings.Index(s[from:], "pk_")
		if i < 0 || from+i+Len > len(s) {
			return -1
		}
		from += i
		if Parse(s[from:from+Len]) == Native {
			return from
		}
		from++
	}
	return -1
}
