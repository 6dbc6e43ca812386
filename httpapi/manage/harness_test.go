package manage_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/rest"
)

// call serves one request by a handler alone, in a frame and without a credential.
func call(f *rest.Frame, h rest.Handler, method, query string) *httptest.ResponseRecorder {
	return callWith(f, h, method, query, "")
}

// callWith is [call] with a body.
func callWith(f *rest.Frame, h rest.Handler, method, query, body string) *httptest.ResponseRecorder {
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/v1/x"+query, payload)
	f.Serve(w, r, &rest.Route{ID: "x", Method: method, Path: "/v1/x", Query: parameters(r), Access: rest.Open, Serve: h}, "", true)
	return w
}

// parameters are the names in r's query, as those of its route: which ones a call takes
// is in the table of httpapi, and tested there.
func parameters(r *http.Request) []string {
	return slices.Collect(maps.Keys(r.URL.Query()))
}
