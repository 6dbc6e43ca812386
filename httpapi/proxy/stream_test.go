package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

// within waits for ch, and says what for if it takes too long.
func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not within 10 s", what)
		panic("unreachable")
	}
}

// rawBackend answers each connection with serve.
func rawBackend(t *testing.T, serve func(c net.Conn, br *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestEventsArriveAtOnce(t *testing.T) {
	seen := make(chan bool)
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			}
		}
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	res := r.do("GET", "/sse", "")
	br := bufio.NewReader(res.Body)
	for i := range 5 {
		// The upstream goes on only when the last event has been seen here.
		line, err := br.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("event %q, %v; want %q", line, err, want)
		}
		br.ReadString('\n')
		seen <- true
	}
}

func TestUploadStreams(t *testing.T) {
	got := make(chan string)
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				got <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	c, br := r.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, s := range []string{"one", "two!", "three"} {
		fmt.Fprintf(c, "%x\r\n%s\r\n", len(s), s)
		if g := within(t, "a chunk at the upstream", got); g != s {
			t.Fatalf("upstream got %q, want %q", g, s)
		}
	}
	io.WriteString(c, "0\r\n\r\n")
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHugeUploadNeedsLittleMemory(t *testing.T) {
	const size = 256 << 20
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	req, _ := http.NewRequest("PUT", r.srv.URL+"/", io.LimitReader(zeros{}, size))
	req.Header.Set("Authorization", "Bearer good")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, res), fmt.Sprint(int64(size), nil); got != want {
		t.Fatalf("upstream read %s, want %s", got, want)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("allocated %d MiB for it", used>>20)
	}
}

func TestFullDuplex(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			rc.Flush()
			if err != nil {
				return
			}
		}
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	c, br := r.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n")
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	for range 3 {
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "ping" {
			t.Fatalf("%q, %v", buf, err)
		}
		io.WriteString(c, "4\r\nping\r\n")
	}
	io.WriteString(c, "0\r\n\r\n")
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "ping" {
		t.Fatalf("%q, %v", rest, err)
	}
}

func TestEarlyAnswer(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	c, br := r.dial()
	// A megabyte is announced and never sent: the answer must come all the same.
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 1000000\r\n\r\nabc")
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 403 {
		t.Fatal(res, err)
	}
	// And the connection must not be kept for ever.
	io.Copy(io.Discard, res.Body)
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("after the answer: %v, want the end of the connection", err)
	}
}

func TestClientLeaves(t *testing.T) {
	for name, send := range map[string]string{
		"waiting":   "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n",
		"uploading": "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 100\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			begun, over := make(chan bool, 1), make(chan bool, 1)
			up := backend(t, func(w http.ResponseWriter, r *http.Request) {
				begun <- true
				io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				over <- true
			})
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
			c, _ := r.dial()
			io.WriteString(c, send)
			within(t, "the request at the upstream", begun)
			c.Close()
			within(t, "the upstream's cancellation", over)
			if o := r.log.next(t); o.Status != statusClientGone || o.Code != "" {
				t.Errorf("observed %+v", o)
			}
			lane := r.live.Load().lanes[r.live.Load().table.routes[0]]
			if n := lane.upstreams[0].failures.Load(); n != 0 {
				t.Errorf("the upstream is blamed for it %d times", n)
			}
		})
	}
}

func TestUpstreamBreaksOff(t *testing.T) {
	up := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	res := r.do("GET", "/", "")
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a broken answer looks whole: %q", b)
	}
	r.log.next(t)
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestInterimResponses(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Set("X-Final", "1")
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	var hints []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, h.Get("Link")))
			return nil
		},
	})
	req, _ := http.NewRequestWithContext(ctx, "GET", r.srv.URL, nil)
	req.Header.Set("Authorization", "Bearer good")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if len(hints) != 1 || hints[0] != "103</a.css>; rel=preload" {
		t.Errorf("hints %q", hints)
	}
	if !limited(res.Header) || res.Header.Get("X-Request-Id") == "" || res.Header.Get("X-Final") == "" {
		t.Errorf("after a 103 the final head lacks something: %v", res.Header)
	}
}

func TestExpectContinue(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(417)
			return
		}
		io.Copy(w, r.Body)
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	c, br := r.dial()
	io.WriteString(c, "POST /yes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	if line, _ := br.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("first line %q, want 100", line)
	}
	br.ReadString('\n')
	io.WriteString(c, "ok")
	if res, err := http.ReadResponse(br, nil); err != nil || text(t, res) != "ok" {
		t.Fatal(res, err)
	}
	for _, head := range []string{"/no HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good", "/yes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad"} {
		res := r.raw("POST " + head + "\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		if res.StatusCode < 400 {
			t.Errorf("%s: status %d before the refusal", head, res.StatusCode)
		}
	}
}

func TestTrailers(t *testing.T) {
	up := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Proto, body)
		w.Header().Set("X-Sum", fmt.Sprintf("%s|%s|%s|%s", r.Trailer.Get("X-In"), r.Trailer.Get("X-Perf-Account"), r.Trailer.Get("Authorization"), r.Trailer.Get("X_In")))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}
	for _, c := range []struct {
		name, upstream, proto string
		client                bool // HTTP/2
	}{
		{"1 to 1", "http", "HTTP/1.1", false}, {"1 to 2", "h2c", "HTTP/2.0", false},
		{"2 to 1", "http", "HTTP/1.1", true}, {"2 to 2", "h2c", "HTTP/2.0", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(up))
			s.Config.Protocols = protocols(true)
			s.Start()
			t.Cleanup(s.Close)
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{strings.Replace(s.URL, "http", c.upstream, 1)}})
			tr := &http.Transport{Protocols: protocols(false)}
			if c.client {
				tr.Protocols = new(http.Protocols)
				tr.Protocols.SetUnencryptedHTTP2(true)
			}
			defer tr.CloseIdleConnections()
			req, _ := http.NewRequest("POST", r.srv.URL, io.MultiReader(strings.NewReader("body")))
			req.Header.Set("Authorization", "Bearer good")
			req.Trailer = http.Header{"X-In": {"in"}, "X-Perf-Account": {"evil"}, "X_in": {"x"}}
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := text(t, res); got != c.proto+" body" {
				t.Errorf("body %q", got)
			}
			if got := res.Trailer.Get("X-Sum"); got != "in|||" {
				t.Errorf("trailers that the upstream saw: %q", got)
			}
			if got := res.Trailer.Get("X-Late"); got != "late" {
				t.Errorf("unannounced trailer %q", got)
			}
		})
	}
}

func protocols(both bool) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(both)
	return &p
}

func TestSecureUpstream(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{s.URL}})
	if res := r.do("GET", "/", ""); res.StatusCode != 502 {
		t.Errorf("an unknown certificate: status %d", res.StatusCode)
	}
	r.roots = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	r.Reload(Settings{Table: r.live.Load().table})
	if got := text(t, r.do("GET", "/", "")); got != "HTTP/2.0" {
		t.Errorf("over TLS the upstream saw %s", got)
	}
}

// upgraded opens a tunnel through r; early is sent right behind the request.
func (r *rig) upgraded(early string) (net.Conn, *bufio.Reader, *http.Response) {
	r.t.Helper()
	c, br := r.dial()
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"+early)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != 101 {
		r.t.Fatalf("status %d, want 101", res.StatusCode)
	}
	return c, br, res
}

// upgrading is an upstream that switches protocols and echoes.
func upgrading(c net.Conn, br *bufio.Reader) {
	req, err := http.ReadRequest(br)
	if err != nil || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Sec-WebSocket-Key") != "abc" {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		return
	}
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-RateLimit-Limit: 9\r\n\r\nhello ")
	io.Copy(c, br)
}

func TestUpgrade(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, upgrading)}})
	c, br, res := r.upgraded("early ")
	if got := res.Header.Values("X-RateLimit-Limit"); len(got) != 1 || got[0] != "60" || res.Header.Get("X-Upstream-RateLimit-Limit") != "9" || res.Header.Get("X-Request-Id") == "" {
		t.Errorf("head of the 101: %v", res.Header)
	}
	buf := make([]byte, 12)
	if _, err := io.ReadFull(br, buf); err != nil || string(buf) != "hello early " {
		t.Fatalf("%q, %v", buf, err)
	}
	io.WriteString(c, "ping")
	if _, err := io.ReadFull(br, buf[:4]); err != nil || string(buf[:4]) != "ping" {
		t.Fatalf("%q, %v", buf[:4], err)
	}
	if r.InFlight() != 1 || r.tunnels.Load() != 1 {
		t.Errorf("%d in flight, %d tunnels", r.InFlight(), r.tunnels.Load())
	}
	// The end of one direction reaches the upstream, whose own end comes back.
	c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(br); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if o := r.log.next(t); o.Status != 101 {
		t.Errorf("observed %+v", o)
	}
	if r.InFlight() != 0 || r.tunnels.Load() != 0 {
		t.Errorf("%d in flight, %d tunnels", r.InFlight(), r.tunnels.Load())
	}
}

func TestCleartextUpgradeIsDropped(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Upgrade"), r.Header.Get("Http2-Settings"), r.Header.Get("Connection"))
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	res := r.raw("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if got := text(t, res); res.StatusCode != 200 || got != "" {
		t.Errorf("status %d, upstream saw %q", res.StatusCode, got)
	}
}

func TestRevokedKeyEndsStreams(t *testing.T) {
	stream := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("begun"))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for name, lose := range map[string]func(*rig){
		"revoked":  func(r *rig) { r.keys.key.Store(&store.Key{ID: "key_1", RevokedAt: time.Now()}) },
		"disabled": func(r *rig) { r.keys.key.Store(&store.Key{ID: "key_1", Disabled: true}) },
		"expired":  func(r *rig) { r.keys.key.Store(&store.Key{ID: "key_1", ExpiresAt: time.Now()}) },
		"deleted":  func(r *rig) { r.keys.key.Store(nil) },
		"isolated": func(r *rig) { r.gate.isolated.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{stream}}, Route{Path: "/ws", Upstreams: []string{rawBackend(t, upgrading)}},
				Route{Path: "/open", Public: true, Upstreams: []string{stream}})
			r.streams.longAfter, r.streams.sweepEvery = 10*time.Millisecond, 10*time.Millisecond
			res := r.do("GET", "/", "")
			open := r.do("GET", "/open", "")
			_, br, _ := r.upgraded("")
			for r.streams.len() < 3 {
				runtime.Gosched()
			}
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
	r.keys.key.Store(nil)
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
	for r.streams.len() < 1 {
		runtime.Gosched()
	}
	r.keys.key.Store(nil)
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
	for r.streams.len() < 2 {
		runtime.Gosched()
	}
	release <- true
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
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
