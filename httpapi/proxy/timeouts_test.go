package proxy

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

func TestTimeouts(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	const short = 30 * time.Millisecond
	for _, c := range []struct {
		name     string
		timeouts Timeouts
		expired  string // in the answer
	}{
		{"response header", Timeouts{ResponseHeader: short}, "(timeouts.response_header, 30ms)"},
		{"total before the head", Timeouts{Total: short}, "(timeouts.total, 30ms)"},
		{"idle does not count before the head", Timeouts{Idle: short, Total: 5 * short}, "(timeouts.total, 150ms)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{backend(t, hang)}, Timeouts: c.timeouts})
			start := time.Now()
			res := r.do("GET", "/", "")
			if res.StatusCode != 504 {
				t.Fatalf("status %d, want 504", res.StatusCode)
			}
			res.Request = &http.Request{URL: &url.URL{}}
			got := fault.Decode(res)
			if got.Code != fault.UpstreamTimeout || !limited(res.Header) || !strings.Contains(got.Sentence(), c.expired) {
				t.Errorf("%s %q, header %v; the message must name %s", got.Code, got.Sentence(), res.Header, c.expired)
			}
			if took := time.Since(start); c.timeouts.Total == 5*short && took < c.timeouts.Total {
				t.Errorf("ended after %v", took)
			}
		})
	}
}

// lengthen calls try with longer and longer limits until it returns true: part of what it
// tests must happen before the limit is over, which takes longer on a loaded machine.
func lengthen(t *testing.T, try func(limit time.Duration) bool) {
	t.Helper()
	for limit := 250 * time.Millisecond; !try(limit); limit *= 2 {
		if limit > 30*time.Second {
			t.Fatalf("a limit of %v is over too early", limit)
		}
	}
}

// An answer that has begun is cut off.
func TestTimeoutsInTheBody(t *testing.T) {
	half := func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("half"))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for name, of := range map[string]func(time.Duration) Timeouts{
		"idle":  func(d time.Duration) Timeouts { return Timeouts{Idle: d} },
		"total": func(d time.Duration) Timeouts { return Timeouts{Total: d} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lengthen(t, func(limit time.Duration) bool {
				r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{backend(t, half)}, Timeouts: of(limit)})
				res := r.do("GET", "/", "")
				b, err := io.ReadAll(res.Body)
				if res.StatusCode == 504 || err != nil && len(b) == 0 {
					return false // before the answer had begun
				}
				if res.StatusCode != 200 || string(b) != "half" || err == nil {
					t.Errorf("%d %q, %v: want 200, half and an error", res.StatusCode, b, err)
				}
				return true
			})
		})
	}
}

// A response of a language model may take minutes to begin.
func TestDefaultTimeouts(t *testing.T) {
	for in, want := range map[Timeouts]Timeouts{
		{}: {Connect: 5 * time.Second, ResponseHeader: 10 * time.Minute, Idle: 5 * time.Minute},
		{ResponseHeader: 10 * time.Minute, Total: time.Hour}: {Connect: 5 * time.Second, ResponseHeader: 10 * time.Minute, Idle: 5 * time.Minute, Total: time.Hour},
		{ResponseHeader: 15 * time.Minute}:                   {Connect: 5 * time.Second, ResponseHeader: 15 * time.Minute, Idle: 5 * time.Minute},
	} {
		live := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{"http://h"}, Timeouts: in}).live.Load()
		for _, l := range live.lanes {
			if bound := l.upstreams[0].transport.(*h1.Transport).ResponseHeaderTimeout; l.route.timeouts != want || bound != want.ResponseHeader {
				t.Errorf("%+v: %+v, and %v for the head", in, l.route.timeouts, bound)
			}
		}
	}
}

// The proxy blames the client, not the upstream, if the client stops sending its body.
func TestClientStandsStill(t *testing.T) {
	t.Parallel()
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	lengthen(t, func(limit time.Duration) bool {
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Timeouts: Timeouts{Idle: limit}})
		res := r.raw("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 10\r\n\r\nabc")
		if res.StatusCode == 504 {
			return false
		}
		if got := code(t, res); res.StatusCode != 400 || got != fault.InvalidRequest {
			t.Errorf("status %d %s", res.StatusCode, got)
		}
		return true
	})
}

func TestIdleTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{}, Route{Path: "/ws", Upstreams: []string{rawBackend(t, upgrading)}, Timeouts: Timeouts{Idle: time.Second}})
	_, br, _ := r.upgraded("")
	if b, _ := io.ReadAll(br); string(b) != "hello " {
		t.Errorf("%q", b)
	}
}
