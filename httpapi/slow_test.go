package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// heldConn is the response to a client that has sent a head and goes silent: its
// body ends only by the deadline that is set for reading it.
type heldConn struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (h *heldConn) SetReadDeadline(t time.Time) error {
	h.deadlines = append(h.deadlines, t)
	return nil
}

func (h *heldConn) Read([]byte) (int, error) {
	if len(h.deadlines) == 0 || h.deadlines[len(h.deadlines)-1].IsZero() {
		panic("waits for a silent client without an end")
	}
	return 0, os.ErrDeadlineExceeded
}

func (h *heldConn) Close() error { return nil }

// No client holds a connection, or a slot of a large body, by saying nothing.
func TestSilentClients(t *testing.T) {
	g := newRig(t)
	_, admin := g.key("live", "admin")
	for _, c := range []struct {
		name, method, path, token string
		length                    int64
		status                    int
		within                    time.Duration // of the last deadline
	}{
		{"no key", "POST", "/v1/keys", "", 100, 401, fault.LingerTime},
		{"no such call", "POST", "/v1/nothing", "", 100, 404, fault.LingerTime},
		{"a body that nobody reads", "GET", "/livez", "", 100, 200, fault.LingerTime},
		{"of unknown length", "GET", "/livez", "", -1, 200, fault.LingerTime},
		{"a body", "POST", "/v1/keys", admin, 100, 400, fault.LingerTime},
		{"a large body", "PUT", "/v1/allowlist", admin, 5 << 20, 400, fault.LingerTime},
	} {
		w := &heldConn{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(c.method, c.path, w)
		r.ContentLength = c.length
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		began := time.Now()
		g.api.Admin().ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.name, w.Code, c.status, w.Body)
		}
		if len(w.deadlines) == 0 {
			t.Errorf("%s: the client may be silent for ever", c.name)
			continue
		}
		if last := w.deadlines[len(w.deadlines)-1]; last.Before(began) || last.After(time.Now().Add(c.within)) {
			t.Errorf("%s: what is left of the body has until %v, want at most %v", c.name, last.Sub(began), c.within)
		}
	}
	if n := g.api.large.taken; n != 0 {
		t.Errorf("%d slots of large bodies are still taken", n)
	}
	// A body that has come leaves no deadline behind: a long answer would be cut.
	w := &heldConn{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "/v1/keys", http.NoBody)
	r.Body, r.ContentLength = silentEnd{w}, 1
	r.Header.Set("Authorization", "Bearer "+admin)
	g.api.Admin().ServeHTTP(w, r)
	if len(w.deadlines) < 3 || !w.deadlines[2].IsZero() {
		t.Errorf("deadlines %v, want the body's to be lifted once it was read", w.deadlines)
	}
}

// silentEnd is a body that is whole.
type silentEnd struct{ *heldConn }

func (silentEnd) Read(p []byte) (int, error) { return 0, io.EOF }
