package apikey

// The bounds of a prefix: words of letters and digits, each ended by a separator.
const (
	prefixWords = 3
	prefixWord  = 8 // bytes of a word
	prefixBare  = 4 // bytes of the prefix of a key that begins with no such word
)

// Prefix is the beginning that the keys of one issuer share: "pk_live_" of a key of our
// own form, "sk-proj-" or "ghp_" of a foreign one. It is up to three words of
// at most 8 letters and digits, which begin with a letter and are each followed by "_", "-", "."
// or ":". Where there is none it is the first 4 bytes. It has at most 27
// bytes, and at least 4 bytes of a key are not in it.
func Prefix(key string) string {
	end := 0
	for range prefixWords {
		n := word(key[end:])
		if n == 0 || len(key)-end-n < prefixBare {
			break
		}
		end += n
	}
	if end == 0 {
		end = min(prefixBare, len(key))
	}
	return key[:end]
}

// word is the length of the word that s begins with, with its separator; 0 if there
// is none.
func word(s string) int {
	for i := range min(len(s), prefixWord+1) {
		c := s[i]
		switch {
		case i > 0 && (c == '_' || c == '-' || c == '.' || c == ':'):
			return i + 1
		case 'a' <= c|0x20 && c|0x20 <= 'z', i > 0 && '0' <= c && c <= '9':
		default:
			return 0
		}
	}
	return 0
}
