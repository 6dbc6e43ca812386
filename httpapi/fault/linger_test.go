package fault

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// reading is a response whose connection has a deadline for reading.
type reading struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (r *reading) SetReadDeadline(t time.Time) error { r.until = t; return nil }

// A refused client may go on with its body for a short time, where the server
// reads it. A request without a body, and one over HTTP/2, have nothing to read.
func TestLinger(t *testing.T) {
	for name, tt := range map[string]struct {
		length int64
		major  int
		want   bool
	}{
		"a body": {100, 1, true}, "of unknown length": {-1, 1, true}, "no body": {0, 1, false}, "HTTP/2": {100, 2, false},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.ContentLength, r.ProtoMajor = tt.length, tt.major
		for call, f := range map[string]func(http.ResponseWriter){
			"Linger": func(w http.ResponseWriter) { Linger(w, r) },
			"Write":  func(w http.ResponseWriter) { Write(w, r, New(NotFound)) },
		} {
			w := &reading{ResponseRecorder: httptest.NewRecorder()}
			began := time.Now()
			f(w)
			if set := !w.until.IsZero(); set != tt.want || set && (w.until.Before(began.Add(LingerTime)) || w.until.After(time.Now().Add(LingerTime))) {
				t.Errorf("%s, %s: may be read until %v", name, call, w.until)
			}
		}
	}
}

// The text of a fault for the log has code, sentence and cause; the client's has
// no cause.
func TestErrorText(t *testing.T) {
	cause := New(NoLeader)
	for _, tt := range []struct {
		err  *Error
		want string
	}{
		{New(NotFound), "not_found: No such route or endpoint."},
		{Newf(NotFound, "no key %d", 7), "not_found: no key 7"},
		{Wrap(Unavailable, cause), "unavailable: The service is not available right now.: no_leader: " + cause.Sentence()},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if strings.Contains(tt.err.Sentence(), "no_leader") {
			t.Errorf("the client is told the cause: %q", tt.err.Sentence())
		}
	}
}
