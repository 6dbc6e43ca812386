package serve

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestSlot(t *testing.T) {
	s := NewSlot(func(w http.ResponseWriter, _ *http.Request, reason string) { io.WriteString(w, "starting: "+reason) })
	answer := func() string {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Body.String()
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "starting: "},
		{func() { s.Waiting("for a voter") }, "starting: for a voter"},
		{func() { s.Waiting("") }, "starting: "},
		{func() { s.Set(http.NotFoundHandler()) }, "404 page not found\n"},
	} {
		step.do()
		if got := answer(); got != step.want {
			t.Errorf("the answer is %q, want %q", got, step.want)
		}
	}
}
