package h1

// The classes of octets, by their place in a message.
const (
	inToken  = 1 << iota // RFC 9110, 5.6.2
	inValue              // HTAB, SP, VCHAR, obs-text; RFC 9110, 5.5
	inTarget             // of a request target: RFC 3986, and the brackets that clients send unescaped
	inQuoted             // qdtext of a quoted string, RFC 9110, 5.6.4
	inHost               // of the name of a host
)

// octets holds the classes of each octet.
var octets = func() (t [256]uint8) {
	for c := range t {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		visible := '!' <= c && c <= '~'
		if letter || digit || isOneOf(c, "!#$%&'*+-.^_`|~") {
			t[c] |= inToken
		}
		if letter || digit || isOneOf(c, "-._") {
			t[c] |= inHost
		}
		if c == '\t' || c == ' ' || visible || c >= 0x80 {
			t[c] |= inValue
			if c != '"' && c != '\\' {
				t[c] |= inQuoted
			}
		}
		if visible && !isOneOf(c, "\"#<>\\^`{|}") {
			t[c] |= inTarget
		}
	}
	return t
}()

func isOneOf(c int, set string) bool {
	for i := range len(set) {
		if int(set[i]) == c {
			return true
		}
	}
	return false
}

// span is the number of leading octets of p that are of a class.
func span(p []byte, class uint8) int {
	for i, c := range p {
		if octets[c]&class == 0 {
			return i
		}
	}
	return len(p)
}

// isToken reports whether s is a token.
func isToken(s string) bool {
	for i := range len(s) {
		if octets[s[i]]&inToken == 0 {
			return false
		}
	}
	return s != ""
}
