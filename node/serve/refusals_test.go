package serve

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// Malformed requests of HTTP/1.1 are answered in the form of this API, end the
// connection, and are counted by reason.
func TestMalformedHTTP1(t *testing.T) {
	certs := certificates(t, pair(t, t.TempDir(), time.Now(), "localhost"))
	for _, secure := range []bool{false, true} {
		c := config(nil)
		if secure {
			c = config(certs)
		}
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		s := run(t, c)
		want := map[string]float64{}
		for _, tt := range []struct{ text, status, code, reason string }{
			{"GET / HTTP/1.1\nHost: a\r\n\r\n", "400", "invalid_request", "bare_lf"},
			{"GET / HTTP/1.1\r\n\r\n", "400", "invalid_request", "host"},
			{"GET /" + strings.Repeat("a", maxTarget) + " HTTP/1.1\r\n\r\n", "414", "uri_too_long", "target_too_long"},
			{"GET / HTTP/1.1\r\nX: " + strings.Repeat("a", maxHead) + "\r\n\r\n", "431", "headers_too_large", "head_too_large"},
			{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501", "not_implemented", "transfer_encoding"},
			{"GET / HTTP/1.9\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "400", "invalid_request", "transfer_encoding"},
			{"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", "417", "expectation_failed", "expect"},
			{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505", "http_version_not_supported", "version"},
		} {
			conn := from(t, s, "127.0.0.1")
			if secure {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			io.WriteString(conn, tt.text+"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			got, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 "+tt.status+" ") || !strings.Contains(string(got), `"code":"`+tt.code+`"`) ||
				!strings.Contains(string(got), `"request_id":"`) || !strings.Contains(string(got), "\r\nX-Request-Id: ") ||
				!strings.Contains(string(got), "\r\nConnection: close\r\n") || strings.Count(string(got), "HTTP/1.1 ") != 1 {
				t.Errorf("%.60q, TLS %v: %q, %v", tt.text, secure, got, err)
			}
			want[tt.reason]++
		}
		got := counted(t, s, "perfgate_listener_malformed_requests_total")
		for reason, n := range want {
			if got[reason] != n {
				t.Errorf("%s is counted %v times, want %v", reason, got[reason], n)
			}
		}
	}
}

// counted are the values of a counter of s, by reason.
func counted(t *testing.T, s *Server, name string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name {
				got[m.Label[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return got
}

// A head that stops half-way has a status of its own.
func TestRefuse(t *testing.T) {
	for status, want := range map[int]string{400: "invalid_request", 408: "request_timeout"} {
		s := run(t, Config{Addr: "127.0.0.1:0", MaxConns: 9, Logger: config(nil).Logger, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			refuse(w, r, &h1.Error{Status: status, Message: "A sentence."})
		})})
		if got := talk(t, s, get); !strings.Contains(got, `"code":"`+want+`","message":"A sentence."`) {
			t.Errorf("%d: %q", status, got)
		}
	}
}

// "OPTIONS *" is answered by the listener, over both protocols, and another request with
// such a path is not.
func TestOptionsOfTheServer(t *testing.T) {
	s := run(t, config(nil))
	const end = " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: mine\r\n\r\n"
	got := talk(t, s, "OPTIONS *"+end)
	if !strings.HasPrefix(got, "HTTP/1.1 204 ") || !strings.Contains(got, "\r\nAllow: "+methods+"\r\n") || !strings.Contains(got, "\r\nX-Request-Id: mine\r\n") {
		t.Errorf("%q", got)
	}
	if got := outcome(t, s.Addr().String(), false, pairs{":method", "OPTIONS", ":scheme", "http", ":path", "*", ":authority", "a"}); got != "204 " {
		t.Errorf("over HTTP/2: %q", got)
	}
	if got := talk(t, s, "OPTIONS /*"+end); !strings.Contains(got, "hello") {
		t.Errorf("another path: %q", got)
	}
}

// The end of one side of a tunnel reaches the client, also where a PROXY header came
// first.
func TestHalfClosedTunnel(t *testing.T) {
	for _, header := range []string{"", "PROXY TCP4 198.51.100.7 127.0.0.1 1234 80\r\n"} {
		c := config(nil)
		if header != "" {
			c.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "over")
			if w, ok := conn.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
				t.Errorf("%T cannot be closed in one direction", conn)
			}
			io.Copy(io.Discard, conn)
		})
		conn := from(t, run(t, c), "127.0.0.1")
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(conn, header+"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		if got, err := io.ReadAll(conn); string(got) != "over" || err != nil {
			t.Errorf("%q: %q, %v", header, got, err)
		}
	}
}
