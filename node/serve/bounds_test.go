package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/admit"
)

// Each bound of a head from both sides, without a connection.
func TestBounded(t *testing.T) {
	h := bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, tt := range []struct {
		target, field int // bytes
		status        int
	}{
		{1, 0, 204},
		{maxTarget, 0, 204},
		{maxTarget + 1, 0, 414},
		{maxTarget + 1, maxHead, 414}, // both
		{1, maxHead - len("a") - len("host.example.com") - len("X") - perField, 204},
		{1, maxHead - len("a") - len("host.example.com") - len("X") - perField + 1, 431},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.RequestURI, r.Header = "host.example.com", strings.Repeat("a", tt.target), http.Header{}
		if tt.field > 0 {
			r.Header.Set("X", strings.Repeat("x", tt.field))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("target %d, field %d: %d, want %d", tt.target, tt.field, w.Code, tt.status)
		}
		if refused := tt.status != 204; refused != (w.Header().Get("Connection") == "close") || refused != (w.Header().Get("X-Request-Id") != "") {
			t.Errorf("target %d, field %d: the header is %v", tt.target, tt.field, w.Header())
		}
	}
}

// Verdicts know the bound on targets, though no listener sees these.
func TestBoundOfVerdicts(t *testing.T) {
	if admit.MaxTarget != maxTarget {
		t.Errorf("verdicts refuse targets above %d bytes, listeners above %d", admit.MaxTarget, maxTarget)
	}
}
