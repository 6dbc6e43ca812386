package client_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
)

// request is one request that a fake server received.
type request struct {
	line   string // method, escaped path and query
	body   string
	header http.Header
}

// recorder is a fake server that records requests.
type recorder struct {
	mu       sync.Mutex
	requests []request
}

// take returns the requests since the last take.
func (r *recorder) take() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.requests
	r.requests = nil
	return out
}

// serve returns a client of a fake server that answers with h. The server's API
// lies under a prefix, as behind another proxy.
func serve(t *testing.T, h http.HandlerFunc) (*client.Client, *recorder) {
	t.Helper()
	rec := new(recorder)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rec.mu.Lock()
		rec.requests = append(rec.requests, request{r.Method + " " + r.URL.RequestURI(), string(body), r.Header})
		rec.mu.Unlock()
		h(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL+"/a/prefix", "pgop_secret")
	if err != nil {
		t.Fatal(err)
	}
	return c, rec
}

// answering returns a handler that answers every request alike.
func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"7"`)
		setType(w, r)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// setType sets the type of an answer that is streamed, as perfgate does.
func setType(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/v1/backup"):
		w.Header().Set("Content-Type", "application/octet-stream")
	case strings.HasSuffix(r.URL.Path, "/v1/account/data") && r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "application/x-ndjson")
	case strings.HasSuffix(r.URL.Path, "/v1/audit-logs"):
		w.Header().Set("Content-Type", map[string]string{"": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}[r.URL.Query().Get("format")])
	}
}

func pointer[T any](v T) *T { return &v }
