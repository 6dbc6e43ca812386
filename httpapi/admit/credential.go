package admit

import (
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
)

// credential finds the one credential of a request (step 2 of admission), judges
// its form (step 3) and returns its sums, or the reason why there are none. The
// key itself goes no further than this file: nothing here returns it, keeps it or
// puts it into an error.
func credential(f *h1.Fields, query, keyHeader string, from Store, by *hashers) (secret, fault.Code) {
	key, refused := present(f, query, keyHeader)
	if refused != "" {
		return secret{}, refused
	}
	return keyHash(key, from, by)
}

// keyHash judges key's form and hashes it.
func keyHash(key string, from Store, by *hashers) (secret, fault.Code) {
	if len(key) > apikey.MaxForeignLen {
		return secret{}, fault.MalformedKey // as wellFormed says, but before it is summed
	}
	sum := apikey.Sum(key)
	if hash, ok := by.current.Known(&sum); ok {
		return secret{sum: sum, hash: hash, by: by, judged: true}, "" // it was well formed when it was hashed
	}
	if !wellFormed(key, from) {
		return secret{}, fault.MalformedKey
	}
	return secret{sum: sum, hash: by.current.Hash(&sum), by: by, judged: true}, ""
}

// wellFormed reports whether key may be one of ours. A credential without a right
// checksum is worth a lookup only where keys with its prefix have been imported, and one
// that does not even look like ours also where a key of unknown form has.
func wellFormed(key string, from Store) bool {
	switch apikey.Parse(key) {
	case apikey.Native:
		return true
	case apikey.BadSum:
		return from.Imported(apikey.Prefix(key))
	case apikey.Foreign:
		return from.Imported(apikey.Prefix(key)) || from.Imported(store.AnyPrefix)
	}
	return false
}

// hint is the part of a refused credential that the audit log may show, "" for
// none. It parses again, so that admitted requests do not pay for it.
func hint(f *h1.Fields, query, keyHeader string) string {
	key, refused := present(f, query, keyHeader)
	if refused != "" {
		return ""
	}
	return apikey.Hint(key)
}

// present finds the one credential of a request, without judging it: the value
// after "Bearer" (RFC 6750 section 2.1, the scheme in any case), or that of the
// header keyHeader where that is configured (canonical form; "" if not).
//
//   - nothing, an empty header, or a scheme with nothing after it: missing_key
//   - two header lines, both headers, or two values joined by a comma: ambiguous_credentials
//   - a key in the query string, beside a credential or alone: key_in_query
//   - another scheme than Bearer: malformed_key, for something was sent
func present(f *h1.Fields, query, keyHeader string) (key string, refused fault.Code) {
	lines := f.Values("Authorization")
	n := len(lines)
	if keyHeader != "" {
		own := f.Values(keyHeader)
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
	case KeyInQuery(query):
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

// KeyInQuery reports whether a key of our own form stands anywhere in the raw
// query, percent-encoded or not.
func KeyInQuery(query string) bool { return apikey.Holds(query) }
