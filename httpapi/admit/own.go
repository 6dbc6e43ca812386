package admit

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Single is step 2 of admission for a request whose credential is no key, such as an
// operator token: another one beside it, or a key in the query, is refused all the same.
func (g *Gate) Single(r *http.Request) *fault.Error {
	switch _, code := present(r.Header, r.URL.RawQuery, g.keyHeader); code {
	case fault.AmbiguousCredentials, fault.KeyInQuery:
		return fault.New(code)
	}
	return nil
}

// credentials are the headers of h in which p's key may stand.
func (g *Gate) credentials(h http.Header, p *Pass) http.Header {
	if !p.UpstreamsOwn {
		return h
	}
	return http.Header{g.keyHeader: h[g.keyHeader]}
}

// upstreamsOwn reports whether the Authorization in h is meant for the upstream: the
// key header has a value, and Authorization has one that holds no key of perfgate's.
// With a key in both, the request stays ambiguous: no key reaches an upstream.
func (g *Gate) upstreamsOwn(h http.Header, hasher *apikey.Hasher) bool {
	lines, own := h["Authorization"], h[g.keyHeader]
	if g.keyHeader == "" || len(lines) != 1 || len(own) != 1 || trim(own[0]) == "" {
		return false
	}
	value := trim(lines[0])
	scheme, token, _ := strings.Cut(value, " ")
	token = trim(token)
	if value == "" || apikey.Holds(value) {
		return false
	}
	if strings.EqualFold(scheme, "Basic") {
		// Lenient readers take either alphabet, padded or not.
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(token), "="))
		return err == nil && !apikey.Holds(string(raw))
	}
	// An imported key may have any form.
	for _, key := range []string{token, value} {
		if hash, refused := keyHash(key, g.cfg.Store, hasher); refused == "" {
			if rec, err := g.cfg.Store.Lookup(hash); err != nil || rec != nil {
				return false
			}
		}
	}
	return true
}
