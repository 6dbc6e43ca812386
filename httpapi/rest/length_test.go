package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

// A management call of HTTP/2 with a Content-Length that is not its body's changes nothing.
func TestLengthsOverHTTP2(t *testing.T) {
	g := apitest.New(t)
	_, admin := g.Key("live", "admin")
	const body = `{"name":"n","type":"live"}`
	for _, c := range []struct {
		method, path, body string
		lengths            []string
		status             int
	}{
		{"GET", "/v1/keys", "", []string{"5"}, 400},
		{"GET", "/v1/keys", "", []string{"0", "5"}, 400},
		{"GET", "/v1/keys", "", []string{"x"}, 400},
		{"POST", "/v1/keys", body, []string{"26", "27"}, 400},
		{"GET", "/v1/keys", "", []string{"0"}, 200},
		{"POST", "/v1/keys", body, []string{"26"}, 201},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		if c.body == "" {
			r.Body = http.NoBody
		}
		r.ProtoMajor, r.ProtoMinor = 2, 0
		r.Header["Content-Length"] = c.lengths
		r.Header.Set("Authorization", "Bearer "+admin)
		w := httptest.NewRecorder()
		g.API.Admin().ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s %s with %q: status %d, want %d: %s", c.method, c.path, c.lengths, w.Code, c.status, w.Body)
		}
	}
}
