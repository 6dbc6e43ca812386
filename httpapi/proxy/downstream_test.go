package proxy

import (
	"context"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"
)

// A function that is taken back does not run any more: the exchange that it ends may be
// another request's by then.
func TestStreamTakesBack(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newStream(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	begun, end, over := make(chan bool), make(chan bool), make(chan bool)
	finished := false
	s.OnLeave(func() {
		begun <- true
		<-end
		finished = true
	})
	cancel()
	<-begun
	go func() {
		s.OnLeave(nil)
		if !finished {
			t.Error("the function still runs")
		}
		close(over)
	}()
	runtime.Gosched()
	close(end)
	select {
	case <-over:
	case <-time.After(time.Minute):
		t.Fatal("OnLeave has not returned within a minute")
	}
	s.OnLeave(nil)
}

// A sweep that is late does not look at a request that is over.
func TestSweepOfAnEndedRequest(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{"http://127.0.0.1:1"}})
	x := &exchange{proxy: r.Proxy} // without its request, which would be read
	x.ended = true
	if f := r.streams.judge(x, nil, time.Now()); f != nil {
		t.Errorf("%v", f)
	}
}
