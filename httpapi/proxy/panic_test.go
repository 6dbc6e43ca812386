package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// panicking panics instead of forwarding, before or after a response has begun.
type panicking struct{ begin bool }

func (p panicking) forward(x *exchange, _ *http.Request) *fault.Error {
	if p.begin {
		io.WriteString(x.w, "half")
		http.NewResponseController(x.w).Flush()
	}
	panic("boom")
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{"http://127.0.0.1:1"}})
	r.logger = slog.New(slog.NewTextHandler(&log, nil))
	r.forwarder = panicking{}
	res := r.do("GET", "/", "")
	if got := code(t, res); res.StatusCode != 500 || got != fault.Internal || res.Header.Get(fault.RequestIDHeader) == "" {
		t.Errorf("status %d, code %q, %v", res.StatusCode, got, res.Header)
	}
	if o := r.log.next(t); o.Status != 500 || o.RequestID != res.Header.Get(fault.RequestIDHeader) {
		t.Errorf("observed %+v", o)
	}
	if got := log.String(); strings.Count(got, "boom") != 1 || !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "panic_test.go") || strings.Contains(got, "good") {
		t.Errorf("log: %s", got)
	}
	r.forwarder = panicking{begin: true}
	res = r.do("GET", "/", "")
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("half an answer looks whole: %q", b)
	}
	r.log.next(t)
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d requests in flight after their end", n)
	}
}
