package rest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
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

// No silent client holds a connection for longer than its deadline.
func TestSilentClients(t *testing.T) {
	g := apitest.New(t)
	_, admin := g.Key("live", "admin")
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
		g.API.Admin().ServeHTTP(w, r)
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
	// A body that was read leaves no deadline: a long answer would be cut.
	w := &heldConn{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "/v1/keys", http.NoBody)
	r.Body, r.ContentLength = silentEnd{w}, 1
	r.Header.Set("Authorization", "Bearer "+admin)
	g.API.Admin().ServeHTTP(w, r)
	if len(w.deadlines) < 3 || !w.deadlines[2].IsZero() {
		t.Errorf("deadlines %v, want the body's to be lifted once it was read", w.deadlines)
	}
}

// silentEnd is a body that is whole.
type silentEnd struct{ *heldConn }

func (silentEnd) Read(p []byte) (int, error) { return 0, io.EOF }

// A silent client that sends a large body gives its slot back.
func TestSilentLargeBody(t *testing.T) {
	frame := apitest.New(t).Frame()
	w := &heldConn{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("PUT", "/x", w)
	r.ContentLength = 5 * rest.MaxBody
	frame.Serve(w, r, &rest.Route{ID: "x", Method: "PUT", Path: "/x", Access: rest.Open, Serve: func(c *rest.Call) error {
		_, err := c.Body(8*rest.MaxBody, "text/plain")
		if n := frame.LargeBodies(); n != 1 {
			t.Errorf("%d slots are taken by a body that is read", n)
		}
		return err
	}}, "", true)
	if n := frame.LargeBodies(); w.Code != 400 || n != 0 {
		t.Errorf("status %d, %d slots are still taken", w.Code, n)
	}
}
