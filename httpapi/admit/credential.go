package admit

import (
	"net/http"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// credential finds the one credential of a request (section 3, step 2), judges
// its form (step 3) and returns its hash, or why there is none. The key itself
// goes no further than this file: nothing here returns it, keeps it or puts it
// into an error.
func credential(h http.Header, query, keyHeader string, imported bool, hasher *apikey.Hasher) (store.Hash, fault.Code) {
	key, refused := present(h, query, keyHeader)
	if refused != "" {
		return store.Hash{}, refused
	}
	return keyHash(key, imported, hasher)
}

// keyHash judges key's form and hashes it.
func keyHash(key string, imported bool, hasher *apikey.Hasher) (store.Hash, fault.Code) {
	if hash, ok := hasher.Known(key); ok {
		return hash, "" // it was well formed when it was hashed
	}
	if !wellFormed(key, imported) {
		return store.Hash{}, fault.MalformedKey
	}
	return hasher.Hash(key), ""
}

// wellFormed reports whether key may be one of ours. Only where keys have been
// imported, which may have any form, is anything without a right checksum worth
// a lookup.
func wellFormed(key string, imported bool) bool {
	switch apikey.Parse(key) {
	case apikey.Native:
		return true
	case apikey.BadSum, apikey.Foreign:
		return imported
	}
	return false
}

// hint is what the audit log may show of a refused credential, "" if that is
// nothing. It parses anew, so that requests which pass do not pay for it.
func hint(h http.Header, query, keyHeader string) string {
	key, refused := present(h, query, keyHeader)
	if refused != "" {
		return ""
	}
	return apikey.Hint(key)
}

// present finds the one credential of a request, without judging it: the value
// after "Bearer" (RFC 6750 section 2.1, the scheme in any case), or that of the
// header keyHeader where that is configured (canonical form; "" if not).
//
//   - nothing, an empty header, or a scheme with nothing behind it: missing_key
//   - two header lines, both headers, or two values joined by a comma: ambiguous_credentials
//   - a key in the query string, beside a credential or alone: key_in_query
//   - another scheme than Bearer: malformed_key, for something was sent
func present(h http.Header, query, keyHeader string) (key string, refused fault.Code) {
	lines := h["Authorization"]
	n := len(lines)
	if keyHeader != "" {
		own := h[keyHeader]
		if n += len(own); len(own) == 1 {
			key = trim(own[0])
		}
	}
	if n > 1 {
		return "", fault.AmbiguousCredentials
	}
	if n == 1 && len(lines) == 1 {
		key, refused = bearer(trim(lines[0]))
	}
	switch {
	case refused == fault.AmbiguousCredentials, refused == "" && joined(key):
		return "", fault.AmbiguousCredentials
	case keyInQuery(query):
		return "", fault.KeyInQuery
	case refused != "":
		return "", refused
	case key == "":
		return "", fault.MissingKey
	}
	return key, ""
}

// bearer splits an Authorization value. A proxy that folds two lines into one
// joins them with a comma, so another scheme's value may hide a Bearer one.
func bearer(value string) (token string, refused fault.Code) {
	scheme, token, _ := strings.Cut(value, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return trim(token), ""
	}
	if value == "" {
		return "", ""
	}
	for rest := value; ; {
		var more bool
		if _, rest, more = strings.Cut(rest, ","); !more {
			return "", fault.MalformedKey
		}
		if s, _, ok := strings.Cut(trim(rest), " "); ok && strings.EqualFold(s, "Bearer") {
			return "", fault.AmbiguousCredentials
		}
	}
}

// joined reports whether value is two credentials in one field value. A key has
// no white space, so a comma with some beside it joins two; without, the comma
// may belong to an imported key, unless a key of our own form stands beside it.
func joined(value string) bool {
	if strings.IndexByte(value, ',') < 0 {
		return false
	}
	values, spaced, ours := 0, false, false
	for part := range strings.SplitSeq(value, ",") {
		v := trim(part)
		if v == "" {
			continue
		}
		f := apikey.Parse(v)
		values++
		spaced = spaced || len(v) < len(part)
		ours = ours || f == apikey.Native || f == apikey.BadSum
	}
	return values > 1 && (spaced || ours)
}

// trim drops optional white space (RFC 9110 section 5.6.3) around s.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// keyInQuery reports whether any name or value of the raw query is, once
// percent-decoded, a key of our own form. Queries shorter than a key cost one
// comparison; others one pass that gives up on a component at its first byte
// that no key has there.
func keyInQuery(query string) bool {
	if len(query) < apikey.Len {
		return false
	}
	var buf [apikey.Len]byte
	name := true
	for i := 0; i < len(query); {
		n, fits := 0, true
		for ; i < len(query); i++ {
			c := query[i]
			if c == '&' || c == ';' || c == '=' && name {
				break
			}
			if !fits {
				continue
			}
			if c == '%' && i+2 < len(query) {
				if hi, lo := unhex(query[i+1]), unhex(query[i+2]); hi < 16 && lo < 16 {
					c = hi<<4 | lo
					i += 2
				}
			}
			if n == len(buf) || n < 3 && c != "pk_"[n] {
				fits = false
				continue
			}
			buf[n] = c
			n++
		}
		if fits && n == len(buf) && apikey.Parse(string(buf[:])) == apikey.Native {
			return true
		}
		name = i == len(query) || query[i] != '='
		i++ // the delimiter
	}
	return false
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
