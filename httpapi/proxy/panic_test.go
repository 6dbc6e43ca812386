package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// panicking panics instead of calling an upstream, or in the middle of its answer.
type panicking struct{ begin bool }

func (p panicking) Do(context.Context, *h1.Call) (*h1.Answer, error) {
	if p.begin {
		return &h1.Answer{Status: 200, Length: -1, Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), p))}, nil
	}
	panic("boom")
}

func (panicking) Read([]byte) (int, error) { panic("boom") }
func (panicking) CloseIdleConnections()    {}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{"http://127.0.0.1:1"}})
	r.logger = slog.New(slog.NewTextHandler(&log, nil))
	u := r.live.Load().lanes[r.live.Load().table.routes[0]].upstreams[0]
	u.transport = panicking{}
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
	u.transport = panicking{begin: true}
	res = r.do("GET", "/", "")
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("half an answer looks whole: %q", b)
	}
	r.log.next(t)
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d requests in flight after their end", n)
	}
}
