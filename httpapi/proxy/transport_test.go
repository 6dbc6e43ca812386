package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// An upstream that closes idle connections costs no request, whatever its method: it is
// noticed before the request is sent.
func TestUpstreamClosesIdleConnections(t *testing.T) {
	var served atomic.Int64
	closed := make(chan bool, 1)
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		if req, err := http.ReadRequest(br); err == nil {
			io.Copy(io.Discard, req.Body)
			served.Add(1)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			c.Close()
			closed <- true
		}
	})}})
	for i := range 300 {
		if res := r.do([]string{"POST", "PATCH"}[i%2], "/", strings.Repeat("x", i%3*1000)); res.StatusCode != 200 {
			t.Fatalf("request %d: status %d", i, res.StatusCode)
		}
		within(t, "the upstream closes", closed)
	}
	if n := served.Load(); n != 300 {
		t.Errorf("the upstream carried out %d requests of 300", n)
	}
}

// An answer that two readers may take differently is the upstream's failure, and nothing
// of it reaches a client. Octets after a whole answer reach nobody.
func TestMalformedAnswers(t *testing.T) {
	const tail = "\r\nContent-Length: 2\r\n\r\nok"
	for name, c := range map[string]struct {
		answer string
		status int
	}{
		"whole":                  {"HTTP/1.1 200 OK" + tail, 200},
		"surplus":                {"HTTP/1.1 200 OK" + tail + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", 200},
		"two lengths":            {"HTTP/1.1 200 OK\r\nContent-Length: 3" + tail, 502},
		"signed length":          {"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", 502},
		"two framings":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 502},
		"other coding":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", 502},
		"bare LF":                {"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 502},
		"fold":                   {"HTTP/1.1 200 OK\r\nX: a\r\n b" + tail, 502},
		"space before the colon": {"HTTP/1.1 200 OK\r\nX-A : b" + tail, 502},
		"no colon":               {"HTTP/1.1 200 OK\r\nX-A" + tail, 502},
		"NUL":                    {"HTTP/1.1 200 OK\r\nX-A: a\x00b" + tail, 502},
		"CR":                     {"HTTP/1.1 200 OK\r\nX-A: a\rb" + tail, 502},
		"unasked upgrade":        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502},
		"interim flood":          {strings.Repeat("HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n", 3000) + "HTTP/1.1 200 OK" + tail, 502},
		"large head":             {"HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("x", maxResponseHead) + tail, 502},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, func(conn net.Conn, br *bufio.Reader) {
				for {
					if _, err := http.ReadRequest(br); err != nil {
						return
					}
					io.WriteString(conn, c.answer)
				}
			})}})
			hints := 0
			for range 3 {
				req, _ := http.NewRequest("GET", r.srv.URL+"/", nil)
				req.Header.Set("Authorization", "Bearer good")
				req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil },
				}))
				res, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				body := text(t, res)
				if res.StatusCode != c.status || c.status == 200 && body != "ok" || c.status == 502 && !strings.Contains(body, string(fault.UpstreamUnreachable)) {
					t.Errorf("status %d: %q", res.StatusCode, body)
				}
				res.Body.Close()
			}
			if hints > 1000 {
				t.Errorf("%d interim responses", hints)
			}
		})
	}
}

// A body that is held in memory goes out with the head, without a goroutine of its own.
func TestHeldBodiesGoWithTheHead(t *testing.T) {
	a := &attempt{Reader: strings.NewReader("body"), held: 4}
	p := make([]byte, 3)
	for _, left := range []int{1, 0, 0} {
		if a.Read(p); a.Buffered() != left {
			t.Errorf("%d octets are left, want %d", a.Buffered(), left)
		}
	}
	first := make(chan string, 1)
	r := newRig(t, Settings{}, Route{Path: "/", MaxCostPerCall: "1", Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		br.Peek(1)
		head, _ := br.Peek(br.Buffered())
		first <- string(head)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})}})
	if res := r.do("POST", "/", `{"a":1}`); res.StatusCode != 200 {
		t.Fatalf("status %d", res.StatusCode)
	}
	if got := within(t, "the request", first); !strings.HasSuffix(got, "}") {
		t.Errorf("the first segment ends before the body: %q", got)
	}
}

// Fields that Connection names are dropped, also beside "close".
func TestConnectionFields(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nX-Open: 1\r\nContent-Length: 2\r\n\r\nok")
	})}})
	res := r.do("GET", "/", "")
	if res.Header.Get("X-Secret") != "" || res.Header.Get("X-Open") != "1" || text(t, res) != "ok" {
		t.Errorf("%v", res.Header)
	}
}

// choosy is an https upstream whose choice of a protocol can be changed.
func choosy(t *testing.T) (url string, roots *x509.CertPool, two *atomic.Bool) {
	t.Helper()
	two = new(atomic.Bool)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // so that the next request meets a new choice
		}
		fmt.Fprintf(w, "%s %s", r.Proto, body)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cfg := s.TLS.Clone()
		if cfg.NextProtos = []string{"http/1.1"}; two.Load() {
			cfg.NextProtos = []string{"h2"}
		}
		return cfg, nil
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, two
}

// An https upstream chooses HTTP/1.1 or HTTP/2, anew with every connection. No request is
// lost when its choice changes, although its body can be read only once.
func TestUpstreamChoosesTheProtocol(t *testing.T) {
	url, roots, two := choosy(t)
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{url}})
	r.roots = roots
	r.Reload(Settings{Table: r.live.Load().table})
	for _, want := range []bool{false, true, true, false, true, false} {
		two.Store(want)
		proto := "HTTP/1.1"
		if want {
			proto = "HTTP/2.0"
		}
		// A connection may be in use for a moment after its last answer.
		for deadline := time.Now().Add(time.Minute); ; {
			for _, l := range r.live.Load().lanes {
				l.upstreams[0].transport.CloseIdleConnections()
			}
			if got := text(t, r.do("POST", "/", "")); got == proto+" " {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("the choice of %s is not met: %q", proto, got)
			}
		}
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				body := strings.Repeat("x", i*10_000)
				if got := text(t, r.do("POST", "/", body)); got != proto+" "+body {
					t.Errorf("with a body of %d octets over %s: %.50q", len(body), proto, got)
				}
			})
		}
		all.Wait()
	}
}
