package admit

import (
	"encoding/base64"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// Single is step 2 of admission for a request whose credential is no key, such as an
// operator token: another one beside it, or a key in the query, is refused all the same.
func (g *Gate) Single(r *h1.Request) *fault.Error {
	switch _, code := present(&r.Fields, r.Query, g.keyHeader); code {
	case fault.AmbiguousCredentials, fault.KeyInQuery:
		return fault.New(code)
	}
	return nil
}

// credentials are the fields of f in which p's key may stand.
func (g *Gate) credentials(f *h1.Fields, p *Pass) *h1.Fields {
	if !p.UpstreamsOwn {
		return f
	}
	own := new(h1.Fields)
	for _, v := range f.Values(g.keyHeader) {
		own.Add(g.keyHeader, v)
	}
	return own
}

// upstreamsOwn reports whether the Authorization in f is meant for the upstream: the
// key header has a value, and Authorization has one that holds no key of perfgate's.
// With a key in both, the request stays ambiguous: no key reaches an upstream.
func (g *Gate) upstreamsOwn(f *h1.Fields, by *hashers) bool {
	if g.keyHeader == "" {
		return false
	}
	lines, own := f.Values("Authorization"), f.Values(g.keyHeader)
	if len(lines) != 1 || len(own) != 1 || trim(own[0]) == "" {
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
		if s, refused := keyHash(key, g.cfg.Store, by); refused == "" {
			if rec, err := g.keys.find(&s); err != nil || rec != nil {
				return false
			}
		}
	}
	return true
}
