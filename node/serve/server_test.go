package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
)

// config is of a listener on a free port that answers "hello".
func config(certs *Certificates) Config {
	return Config{
		Name: "proxy", Addr: "127.0.0.1:0", Certs: certs, MaxConns: 100, Logger: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello "+r.Proto+" "+r.RemoteAddr)
		}),
	}
}

// run serves c until the test ends.
func run(t *testing.T, c Config) *Server {
	t.Helper()
	c.EventLoops = c.EventLoops || onLoops
	s := New(c)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return s
}

// talk sends text and returns everything received until the server closes.
func talk(t *testing.T, s *Server, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, text)
	out, _ := io.ReadAll(conn)
	return string(out)
}

const get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// The PROXY protocol is required of trusted proxies and accepted from them alone.
func TestProxyProtocol(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\x7f\x00\x00\x01\x04\xd2\x00\x50"
	for name, tt := range map[string]struct {
		trusted string // "" turns the protocol off
		send    string
		want    string // in the answer; "" expects no good answer
	}{
		"v1 from a trusted proxy":     {"127.0.0.0/8", "PROXY TCP4 198.51.100.7 127.0.0.1 1234 80\r\n" + get, "198.51.100.7:1234"},
		"v2 from a trusted proxy":     {"127.0.0.1/32", v2 + get, "198.51.100.7:1234"},
		"none from a trusted proxy":   {"127.0.0.0/8", get, ""},
		"v1 from somebody else":       {"10.0.0.0/8", "PROXY TCP4 198.51.100.7 127.0.0.1 1234 80\r\n" + get, ""},
		"none from somebody else":     {"10.0.0.0/8", get, "127.0.0.1:"},
		"v1 with the protocol off":    {"", "PROXY TCP4 198.51.100.7 127.0.0.1 1234 80\r\n" + get, ""},
		"nonsense from a trusted one": {"127.0.0.0/8", "PROXY TCP9 x\r\n" + get, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(nil)
			if tt.trusted != "" {
				c.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix(tt.trusted)}
			}
			got := talk(t, run(t, c), tt.send)
			if tt.want == "" && strings.Contains(got, "hello") || tt.want != "" && !strings.Contains(got, tt.want) {
				t.Errorf("the answer is %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestHeadBound(t *testing.T) {
	s := run(t, config(nil))
	for _, tt := range []struct {
		target, field int // bytes
		status, body  string
	}{
		{10, maxHead / 2, "200", "hello"},
		{maxTarget - 1, 10, "200", "hello"},
		{maxTarget, 10, "414", `"uri_too_long"`},
		{10, maxHead, "431", `"headers_too_large"`},
		{10, 4 * maxHead, "431", `"request_id":"mine"`},
	} {
		got := talk(t, s, "GET /"+strings.Repeat("a", tt.target)+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: mine\r\nX: "+strings.Repeat("x", tt.field)+"\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) || !strings.Contains(got, tt.body) {
			t.Errorf("target %d, field %d: the answer is %.400q, want %s and %s", tt.target, tt.field, got, tt.status, tt.body)
		}
	}
}

// An expectation that cannot be met is refused in the form of this API.
func TestExpect(t *testing.T) {
	s := run(t, config(nil))
	for expect, want := range map[string]string{"foo": "HTTP/1.1 417 ", "100-continue": "HTTP/1.1 200 "} {
		got := talk(t, s, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\nExpect: "+expect+"\r\n\r\n")
		if !strings.HasPrefix(got, want) || strings.Contains(got, `"expectation_failed"`) != (expect == "foo") {
			t.Errorf("Expect: %s is answered %.400q", expect, got)
		}
	}
}

// ask sends a request on conn and returns the status of the answer, 0 if there is
// none, and its Retry-After.
func ask(conn net.Conn, path string) (status int, retry string) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// A client that opens connections and is silent, or has no more to say, keeps nobody
// out: not other addresses, not new connections of its own, and no customer that is
// connected already.
func TestIdleConnections(t *testing.T) {
	for name, certs := range map[string]*Certificates{"plaintext": nil, "TLS": certificates(t, pair(t, t.TempDir(), time.Now(), "localhost"))} {
		t.Run(name, func(t *testing.T) {
			c := config(certs)
			c.MaxConns = 40
			c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/keyed" {
					admit.Vouch(r.Context())
				}
			})
			s := run(t, c)
			secured := func(ip string) net.Conn {
				if conn := from(t, s, ip); certs == nil {
					return conn
				} else {
					return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
				}
			}
			customer := secured("127.0.0.1")
			if status, _ := ask(customer, "/keyed"); status != 200 {
				t.Fatalf("the customer is answered %d", status)
			}
			for i := range 3 * c.MaxConns {
				silent := secured("127.0.0.1")
				if i%2 == 0 {
					ask(silent, "/")
				}
			}
			if status, _ := ask(customer, "/keyed"); status != 200 {
				t.Errorf("a customer's connection is answered %d after the flood", status)
			}
			for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
				if status, _ := ask(secured(ip), "/readyz"); status != 200 {
					t.Errorf("a new connection from %s is answered %d", ip, status)
				}
			}
			if open, _ := s.conns.open(); open > c.MaxConns {
				t.Errorf("%d connections are open", open)
			}
		})
	}
}

// While every connection has a request under way, the probes are answered, others
// get a 503, and no request is cut.
func TestBusyConnections(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		c := config(nil)
		c.MaxConns = 16
		held, end := make(chan struct{}), make(chan struct{})
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/long" {
				held <- struct{}{}
				<-end
			}
		})
		s := run(t, c)
		statuses := make(chan int)
		n := 0
		for ; n < c.MaxConns-c.MaxConns/knownShare; n++ {
			ip := net.IPv4(127, 0, 1, byte(n+1))
			tr := &http.Transport{Protocols: new(http.Protocols), DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext}
			tr.Protocols.SetHTTP1(!http2)
			tr.Protocols.SetUnencryptedHTTP2(http2)
			t.Cleanup(tr.CloseIdleConnections)
			go func() {
				status := 0
				if resp, err := (&http.Client{Transport: tr}).Get("http://" + s.Addr().String() + "/long"); err == nil {
					resp.Body.Close()
					status = resp.StatusCode
				}
				statuses <- status
			}()
			<-held
		}
		for path, want := range map[string]int{"/readyz": 200, "/livez": 200, "/": 503} {
			status, retry := ask(from(t, s, "127.0.0.1"), path)
			if status != want || (retry == "") != (want == 200) {
				t.Errorf("HTTP/2 %v: %s is answered %d, Retry-After %q; want %d", http2, path, status, retry, want)
			}
		}
		close(end)
		for range n {
			if status := <-statuses; status != 200 {
				t.Errorf("HTTP/2 %v: a request under way is answered %d", http2, status)
			}
		}
	}
}

// The metrics tell how many connections there are, and why some were closed.
func TestConnectionMetrics(t *testing.T) {
	c := config(nil)
	c.MaxConns = 4
	s := run(t, c)
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Collectors()...)
	for range 4 {
		ask(from(t, s, "127.0.0.1"), "/")
	}
	ask(from(t, s, "127.0.0.2"), "/")
	ask(from(t, s, "127.0.0.3"), "/")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"perfgate_listener_connections proxy": 4, "perfgate_listener_connections_max proxy": 4,
		"perfgate_listener_connections_closed_total proxy address": 2, "perfgate_listener_connections_closed_total proxy idlest": 0,
		"perfgate_listener_connections_closed_total proxy refused": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	s := run(t, config(nil))
	for addr, want := range map[string]string{
		s.Addr().String(): "something else listens there already",
		"192.0.2.1:0":     "does not have that address",
	} {
		c := config(nil)
		c.Addr = addr
		if err := New(c).Open(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
}

func TestShutdown(t *testing.T) {
	var log bytes.Buffer
	started := make(chan struct{})
	c := config(nil)
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	s := New(c)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), `"proxy listening" addr=`+s.Addr().String()) {
		t.Errorf("the log says %q", log.String())
	}
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	go http.Get("http://" + s.Addr().String())
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown = %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	// Close without Run releases the port.
	s = New(c)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
		conn.Close()
		t.Error("the port is still taken after Close")
	}
}
