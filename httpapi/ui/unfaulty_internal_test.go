package ui

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// visitOf is a visit over an API.
func visitOf(t *testing.T, api http.HandlerFunc) (*visit, *httptest.ResponseRecorder) {
	t.Helper()
	u, err := New(Config{API: api})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	v, err := u.visit(w, httptest.NewRequest("GET", "/audit/verify", nil))
	if err != nil {
		t.Fatal(err)
	}
	return v, w
}

// TestStreamedAnswers: an answer passes as it comes, with its deadlines and flushes, and a fault
// with any status is kept.
func TestStreamedAnswers(t *testing.T) {
	v, w := visitOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/csv")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("a,b\n"))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusInternalServerError) // too late, as everywhere
		_, _ = w.Write([]byte("c,d\n"))
	})
	if err := v.stream("/v1/x", nil, "", "x.csv"); err != nil || w.Code != 200 || w.Body.String() != "a,b\nc,d\n" || !w.Flushed || w.Header().Get("Content-Disposition") == "" {
		t.Errorf("%v: %d %q %v", err, w.Code, w.Body, w.Header())
	}
	for code, status := range map[fault.Code]int{fault.TooBusy: 503, fault.Internal: 500, fault.UpstreamTimeout: 504, fault.RequestsPerMinute: 429} {
		v, w := visitOf(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/csv")
			fault.Write(w, r, &fault.Error{Code: code, Message: strings.Repeat("long ", 2_000)})
		})
		err := v.stream("/v1/x", nil, "", "x.csv")
		if f := (*fault.Error)(nil); !errors.As(err, &f) || f.Code.Status() != status || w.Body.Len() > 0 || w.Header().Get("Content-Type") != "" || w.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s: %v, %d bytes, %v", code, err, w.Body.Len(), w.Header())
		}
	}
}
