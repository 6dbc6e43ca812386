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
	"testing"
)

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
	// And the connection must not be kept open.
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
	for _, half := range []string{"Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"} {
		up := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
			http.ReadRequest(br)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+half)
		})
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
		res := r.do("GET", "/", "")
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%q: a broken answer looks whole: %q", half, b)
		}
		r.log.next(t)
		if n := r.InFlight(); n != 0 {
			t.Errorf("%q: %d in flight", half, n)
		}
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
