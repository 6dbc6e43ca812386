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

// net/http's own refusals become answers of this API; other writes stay.
func TestRefusalOf(t *testing.T) {
	const fields = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	for line, want := range map[string]string{
		"HTTP/1.1 400 Bad Request":                     `"invalid_request"`,
		"HTTP/1.1 431 Request Header Fields Too Large": `"headers_too_large"`,
		"HTTP/1.1 501 Unsupported transfer encoding":   `"not_implemented"`,
		"HTTP/1.1 505 HTTP Version Not Supported":      `"http_version_not_supported"`,
	} {
		got := string(refusalOf([]byte(line + fields + line[len("HTTP/1.1 "):])))
		if !strings.HasPrefix(got, line[:len("HTTP/1.1 400")]) || !strings.Contains(got, want) || !strings.Contains(got, `"request_id"`) || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%s becomes %q", line, got)
		}
	}
	const expect = "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 0\r\n"
	if got := string(refusalOf([]byte(expect + "\r\n"))); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "100-continue") {
		t.Errorf("%q becomes %q", expect, got)
	}
	for _, other := range []string{
		expect + "X-Request-Id: of an upstream's answer\r\n\r\n",
		"", "HTTP/1.1", "HTTP/1.1 200 OK" + fields, "HTTP/1.1 400 Bad Request\r\nX: y" + fields, "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		if got := refusalOf([]byte(other)); got != nil {
			t.Errorf("%q becomes %q", other, got)
		}
	}
}

// Verdicts know the bound on targets, though no listener sees these.
func TestBoundOfVerdicts(t *testing.T) {
	if admit.MaxTarget != maxTarget {
		t.Errorf("verdicts refuse targets above %d bytes, listeners above %d", admit.MaxTarget, maxTarget)
	}
}
