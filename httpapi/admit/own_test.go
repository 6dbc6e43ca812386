package admit

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// On a route that passes Authorization on, a request with a key in the key header may
// have one of its own, unless that holds a key too.
func TestAuthorizationOfTheUpstream(t *testing.T) {
	h := newHarness(t)
	key, other := h.key(nil), h.key(nil)
	const foreign = "legacy-key-0123456789"
	h.apply(&store.Command{Account: store.DefaultAccount, Change: &store.KeyImport{Keys: []store.Key{{
		ID: "key_foreign", Hash: apikey.Hash(h.store.Pepper(), foreign), Type: store.Live, Name: "old", Scopes: []string{"read"},
	}}}})
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct {
		name          string
		own           []string // X-Api-Key
		authorization []string
		want          fault.Code
		passes        bool // Authorization goes to the upstream
	}{
		{"a user's token", []string{key}, []string{"Bearer eyJhbGciOi.x.y"}, "", true},
		{"another scheme", []string{key}, []string{"AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host"}, "", true},
		{"a password", []string{key}, []string{basic("user:password")}, "", true},
		{"no Authorization", []string{key}, nil, "", false},
		{"the key in Authorization", nil, []string{"Bearer " + key}, "", false},
		{"an empty key header", []string{""}, []string{"Bearer " + key}, fault.AmbiguousCredentials, false},
		{"a user's token alone", nil, []string{"Bearer eyJhbGciOi.x.y"}, fault.MalformedKey, false},
		{"two keys", []string{key}, []string{"Bearer " + other}, fault.AmbiguousCredentials, false},
		{"the same key", []string{key}, []string{"Bearer " + key}, fault.AmbiguousCredentials, false},
		{"a key as it stands", []string{key}, []string{other}, fault.AmbiguousCredentials, false},
		{"a key as a password", []string{key}, []string{basic("user:" + other)}, fault.AmbiguousCredentials, false},
		{"a key as a password, in the other alphabet", []string{key}, []string{strings.TrimRight(strings.ReplaceAll(basic("??>"+other), "/", "_"), "=")}, fault.AmbiguousCredentials, false},
		{"a password that cannot be read", []string{key}, []string{"Basic ?"}, fault.AmbiguousCredentials, false},
		{"an encoded key", []string{key}, []string{"Bearer " + strings.Replace(other, "_", "%5f", 1)}, fault.AmbiguousCredentials, false},
		{"an imported key", []string{key}, []string{"Bearer " + foreign}, fault.AmbiguousCredentials, false},
		{"an imported key as it stands", []string{key}, []string{foreign}, fault.AmbiguousCredentials, false},
		{"two lines", []string{key}, []string{"Bearer a", "Bearer b"}, fault.AmbiguousCredentials, false},
		{"two key headers", []string{key, key}, []string{"Bearer a"}, fault.AmbiguousCredentials, false},
		{"a wrong key", []string{apikey.New(apikey.LivePrefix)}, []string{"Bearer a"}, fault.InvalidKey, true},
	} {
		r := post("", func(r *http.Request) {
			r.Header["X-Api-Key"], r.Header["Authorization"] = c.own, c.authorization
		})
		p, f := h.Check(r, here, Rule{Route: "/v1/", PassAuthorization: true}, h.now)
		if code(f) != c.want || p.UpstreamsOwn != c.passes {
			t.Errorf("%s: %v, passes %v", c.name, f, p.UpstreamsOwn)
		}
		if p, f := h.Check(r, here, chat, h.now); len(c.own)+len(c.authorization) > 1 && code(f) != fault.AmbiguousCredentials || p.UpstreamsOwn {
			t.Errorf("%s, on another route: %v, passes %v", c.name, f, p.UpstreamsOwn)
		}
	}
}

// A wrong key's hint is that of the key header, never of the user's token.
func TestHintIsOfTheKeyHeader(t *testing.T) {
	h := newHarness(t)
	wrong := apikey.New(apikey.LivePrefix)
	r := post("", func(r *http.Request) {
		r.Header["X-Api-Key"], r.Header["Authorization"] = []string{wrong}, []string{"Bearer eyJhbGciOi.x.y"}
	})
	if p, f := h.Check(r, here, Rule{PassAuthorization: true}, h.now); code(f) != fault.InvalidKey || p.Hint != apikey.Hint(wrong) {
		t.Errorf("%v, hint %q", f, p.Hint)
	}
}
