package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

func TestRevokedKeyEndsStreams(t *testing.T) {
	stream := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("begun"))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	lost := func(code fault.Code) func(*rig) {
		return func(r *rig) { r.gate.lost.Store(fault.New(code)) }
	}
	for name, lose := range map[string]func(*rig){
		"revoked": lost(fault.KeyRevoked), "disabled": lost(fault.KeyDisabled), "expired": lost(fault.KeyExpired),
		"deleted": lost(fault.InvalidKey), "scope": lost(fault.InsufficientScope), "route": lost(fault.RouteNotAllowed),
		"address": lost(fault.IPNotAllowed), "browser": lost(fault.KeyExposed), "suspended": lost(fault.AccountSuspended),
		"isolated": func(r *rig) { r.gate.isolated.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{stream}}, Route{Path: "/ws", Upstreams: []string{rawBackend(t, upgrading)}},
				Route{Path: "/open", Public: true, Upstreams: []string{stream}})
			r.streams.longAfter, r.streams.sweepEvery = 10*time.Millisecond, 10*time.Millisecond
			res := r.do("GET", "/", "")
			open := r.do("GET", "/open", "")
			_, br, _ := r.upgraded("")
			r.await(3)
			if r.InFlight() != 3 {
				t.Fatalf("%d in flight before", r.InFlight())
			}
			lose(r)
			if b, err := io.ReadAll(res.Body); err == nil || string(b) != "begun" {
				t.Errorf("stream: %q, %v", b, err)
			}
			if b, _ := io.ReadAll(br); string(b) != "hello " {
				t.Errorf("tunnel: %q", b)
			}
			r.log.next(t)
			r.log.next(t)
			if r.InFlight() != 1 {
				t.Errorf("%d in flight after, want the public one", r.InFlight())
			}
			open.Body.Close()
			r.log.next(t)
		})
	}
}

func (s *streams) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func TestRevokedWhileWaiting(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	r.streams.longAfter, r.streams.sweepEvery = 10*time.Millisecond, 10*time.Millisecond
	r.gate.lost.Store(fault.New(fault.InvalidKey))
	res := r.do("GET", "/", "")
	if got := code(t, res); res.StatusCode != 401 || got != "key_revoked" {
		t.Errorf("status %d %s", res.StatusCode, got)
	}
}

func TestRevokedWhileTheClientStandsStill(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, zeros{}) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	r.streams.longAfter, r.streams.sweepEvery = 10*time.Millisecond, 10*time.Millisecond
	c, _ := r.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
	r.await(1)
	r.gate.lost.Store(fault.New(fault.InvalidKey))
	r.log.next(t)
}

func TestDrain(t *testing.T) {
	release := make(chan bool)
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}}, Route{Path: "/ws", Upstreams: []string{rawBackend(t, upgrading)}})
	r.streams.longAfter = 10 * time.Millisecond
	if n := r.Drain(context.Background()); n != 0 {
		t.Fatalf("idle: %d left", n)
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.do("GET", "/", "") })
	_, br, _ := r.upgraded("")
	r.await(2)
	release <- true
	wg.Wait()
	r.log.next(t) // the client may have its answer before the request has ended
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if n := r.Drain(ctx); n != 1 {
		t.Errorf("%d left, want the tunnel", n)
	}
	if b, _ := io.ReadAll(br); string(b) != "hello " {
		t.Errorf("tunnel: %q", b)
	}
	if n := r.Drain(context.Background()); n != 0 {
		t.Errorf("%d left", n)
	}
}

// A sweep judges each request by its own route, address and method, not its key
// alone, and one that cannot be judged goes on.
func TestSweepJudgesRequests(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	r := newRig(t, Settings{}, Route{Path: "/a", Upstreams: []string{up}}, Route{Path: "/b", Upstreams: []string{up}}, Route{Path: "/c", Upstreams: []string{up}})
	r.streams.longAfter, r.streams.sweepEvery = 10*time.Millisecond, 10*time.Millisecond
	var sweeps atomic.Int64
	r.streams.gate = judging{r.gate, func(req *h1.Request, p *admit.Pass, rule admit.Rule) *fault.Error {
		switch {
		case req.Method != "GET" || !p.Client.IsLoopback():
			t.Errorf("judged %s from %v", req.Method, p.Client)
		case rule.Route == "/a":
			return fault.New(fault.RouteNotAllowed)
		case rule.Route == "/b":
			return fault.Wrap(fault.Unavailable, errors.New("the disk is on fire"))
		case sweeps.Add(1) > 20:
			return fault.New(fault.IPNotAllowed)
		}
		return nil
	}}
	for _, path := range []string{"/a", "/b", "/c"} {
		r.do("GET", path, "")
	}
	for _, want := range []string{"/a", "/c"} { // c lives twenty sweeps longer, and b on
		if o := r.log.next(t); o.Route != want {
			t.Errorf("the request to %s ended, want that to %s", o.Route, want)
		}
	}
	if r.InFlight() != 1 {
		t.Errorf("%d requests are in flight, want one", r.InFlight())
	}
}

// judging is a gate whose Lost is a function.
type judging struct {
	*testGate
	lost func(*h1.Request, *admit.Pass, admit.Rule) *fault.Error
}

func (g judging) Lost(r *h1.Request, p *admit.Pass, rule admit.Rule, _ time.Time) *fault.Error {
	return g.lost(r, p, rule)
}
