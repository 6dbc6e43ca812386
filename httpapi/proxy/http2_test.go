package proxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/store"
)

// overHTTP2 is a transport that speaks HTTP/2 alone, in plaintext. dialed gets its
// connections.
func overHTTP2(t *testing.T) (tr *http.Transport, dialed chan net.Conn) {
	t.Helper()
	dialed = make(chan net.Conn, 8)
	tr = &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			dialed <- c
		}
		return c, err
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return tr, dialed
}

// upstreamOf is an upstream that speaks HTTP/1.1 or HTTP/2.
func upstreamOf(t *testing.T, http2 bool, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = protocols(true)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	if http2 {
		return strings.Replace(s.URL, "http", "h2c", 1)
	}
	return s.URL
}

// A client of HTTP/2 that leaves after an upstream got its request pays the
// reserve, whether it ends the stream or the connection.
func TestLeavesOverHTTP2(t *testing.T) {
	const half = store.MoneyUnit / 2
	for _, http2 := range []bool{false, true} {
		got := make(chan struct{}, 1)
		up := upstreamOf(t, http2, func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // HTTP/1.1 notices an end only after it
			got <- struct{}{}
			<-r.Context().Done()
		})
		r := newRig(t, Settings{}, Route{Path: "/fixed", Upstreams: []string{up}, Cost: "0.5"},
			Route{Path: "/stated", Upstreams: []string{up}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"})
		for _, path := range []string{"/fixed", "/stated"} {
			for _, body := range []string{"", `{"a":1}`} {
				for _, end := range []string{"stream", "connection"} {
					tr, dialed := overHTTP2(t)
					ctx, cancel := context.WithCancel(t.Context())
					req, _ := http.NewRequestWithContext(ctx, "POST", r.srv.URL+path, strings.NewReader(body))
					req.Header.Set("Authorization", "Bearer good")
					gone := make(chan error, 1)
					go func() {
						_, err := tr.RoundTrip(req)
						gone <- err
					}()
					within(t, "the upstream gets the request", got)
					if end == "connection" {
						(<-dialed).Close()
					} else {
						cancel()
					}
					if err := within(t, "the client leaves", gone); err == nil {
						t.Fatal("the request was answered")
					}
					if o := r.log.next(t); o.Units != 1 || o.Cost != half || o.Status != statusClientGone {
						t.Errorf("upstream HTTP/2 %v, %s, body %q, end of the %s: %d units, cost %d, status %d", http2, path, body, end, o.Units, o.Cost, o.Status)
					}
					cancel()
				}
			}
		}
		if units, reserved, settled := r.gate.money(); units != 8 || reserved+settled != 8*half {
			t.Errorf("%d units and %d are charged in all", units, reserved+settled)
		}
	}
}

// Trailers of an upstream are as clean as its head, over every pair of protocols,
// announced or not.
func TestTrailersAreClean(t *testing.T) {
	withheld := []string{"Authorization", "Proxy-Authorization", "X-Perf-Account", "Up-Token", "Alt-Svc"}
	for _, upstream2 := range []bool{false, true} {
		for _, announced := range []bool{false, true} {
			up := upstreamOf(t, upstream2, func(w http.ResponseWriter, r *http.Request) {
				prefix := http.TrailerPrefix
				if announced {
					prefix = ""
					w.Header().Set("Trailer", strings.Join(append(withheld, "X-Kept", "Location"), ", "))
				}
				io.WriteString(w, "body")
				http.NewResponseController(w).Flush() // no length is stated
				for _, name := range withheld {
					w.Header().Set(prefix+name, "secret-of-TOKEN")
				}
				w.Header().Set(prefix+"X-Kept", "1")
				w.Header().Set(prefix+"Location", "http://"+r.Host+"/there")
			})
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Headers: map[string]string{"Up-Token": "${TOKEN}"}})
			h2, _ := overHTTP2(t)
			for name, tr := range map[string]*http.Transport{"HTTP/1.1": {Protocols: protocols(false)}, "HTTP/2": h2} {
				req, _ := http.NewRequest("GET", r.srv.URL, nil)
				req.Header.Set("Authorization", "Bearer good")
				res, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				text(t, res)
				res.Body.Close()
				tr.CloseIdleConnections()
				for _, header := range withheld {
					if v := res.Trailer[header]; len(v) > 0 {
						t.Errorf("%s, upstream HTTP/2 %v, announced %v: the client gets %s: %q", name, upstream2, announced, header, v)
					}
				}
				if res.Trailer.Get("X-Kept") != "1" || res.Trailer.Get("Location") != "/there" {
					t.Errorf("%s, upstream HTTP/2 %v, announced %v: trailers %q", name, upstream2, announced, res.Trailer)
				}
			}
		}
	}
}

// Trailers of a client of HTTP/2 reach the upstream without keys and identities.
func TestClientTrailersOverHTTP2(t *testing.T) {
	for _, upstream2 := range []bool{false, true} {
		got := make(chan http.Header, 1)
		up := upstreamOf(t, upstream2, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			got <- r.Trailer
		})
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
		tr, _ := overHTTP2(t)
		req, _ := http.NewRequest("POST", r.srv.URL, io.MultiReader(strings.NewReader("body")))
		req.Header.Set("Authorization", "Bearer good")
		req.Trailer = http.Header{"X-Kept": {"1"}, "X-Copy": {"a " + apikey.New(apikey.LivePrefix)}, "X-Perf-Key-Id": {"key_2"}, "X-Real-Ip": {"192.0.2.1"}, "X-Http-Method-Override": {"DELETE"}}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		res.Body.Close()
		seen := within(t, "the upstream", got)
		for name, values := range seen {
			if len(values) > 0 && name != "X-Kept" {
				t.Errorf("upstream HTTP/2 %v: the upstream gets the trailer %s: %q", upstream2, name, values)
			}
		}
		if seen.Get("X-Kept") != "1" {
			t.Errorf("upstream HTTP/2 %v: trailers %q", upstream2, seen)
		}
	}
}

// A cost that comes with a trailer counts over every pair of protocols.
func TestCostInATrailerOverHTTP2(t *testing.T) {
	for _, upstream2 := range []bool{false, true} {
		up := upstreamOf(t, upstream2, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Cost")
			io.WriteString(w, "body")
			w.Header().Set("X-Cost", "0.2")
		})
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"})
		tr, _ := overHTTP2(t)
		req, _ := http.NewRequest("GET", r.srv.URL, nil)
		req.Header.Set("Authorization", "Bearer good")
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		res.Body.Close()
		if o := r.log.next(t); o.Cost != store.MoneyUnit/5 {
			t.Errorf("upstream HTTP/2 %v: cost %d", upstream2, o.Cost)
		}
	}
}
