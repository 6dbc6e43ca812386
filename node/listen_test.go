package node

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// talk sends text and returns what comes back until the server closes.
func talk(t *testing.T, s *Server, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
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
		want    string // in the answer; "" wants no good answer
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
			c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0"})
			if tt.trusted != "" {
				c.Proxy.ProxyProtocol = true
				c.Proxy.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(tt.trusted)}
			}
			got := talk(t, serve(t, c, "proxy", nil, io.Discard), tt.send)
			if tt.want == "" && strings.Contains(got, "hello") || tt.want != "" && !strings.Contains(got, tt.want) {
				t.Errorf("the answer is %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestHeadBound(t *testing.T) {
	c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0"})
	s := serve(t, c, "proxy", nil, io.Discard)
	for _, tt := range []struct {
		target, field int // bytes
		status, body  string
	}{
		{10, maxHead / 2, "200", "hello"},
		{maxTarget - 1, 10, "200", "hello"},
		{maxTarget, 10, "414", `"uri_too_long"`},
		{10, maxHead, "431", `"headers_too_large"`},
		{10, hardHead - 2*headOfHTTP, "431", `"request_id":"mine"`},
		{10, hardHead + headOfHTTP, "431", ""}, // net/http's own
	} {
		got := talk(t, s, "GET /"+strings.Repeat("a", tt.target)+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: mine\r\nX: "+strings.Repeat("x", tt.field)+"\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) || !strings.Contains(got, tt.body) {
			t.Errorf("target %d, field %d: the answer is %.400q, want %s and %s", tt.target, tt.field, got, tt.status, tt.body)
		}
	}
}

// The bound on connections holds back new ones instead of refusing them.
func TestConnectionBound(t *testing.T) {
	c := mustLoad(t, []string{"--admin-listen", "127.0.0.1:0"})
	s := NewServer(c, "admin", nil, http.NotFoundHandler(), quiet())
	s.conns = 1
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	go s.Run()
	defer s.Close()
	first, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answered := func(conn net.Conn) error {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := answered(first); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a second connection is served beside the first")
	}
	first.Close()
	if err := answered(second); err != nil {
		t.Errorf("the second connection after the first has ended: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0"})
	s := serve(t, c, "proxy", nil, io.Discard)
	for addr, want := range map[string]string{
		s.Addr().String(): "something else listens there already",
		"192.0.2.1:0":     "does not have that address",
	} {
		c := mustLoad(t, []string{"--proxy-listen", addr})
		err := NewServer(c, "proxy", nil, http.NotFoundHandler(), quiet()).Open(t.Context())
		if exitCode(err) != 2 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--proxy-listen: proxy.listen = ") {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
}

func TestShutdown(t *testing.T) {
	var log bytes.Buffer
	logger, _ := NewLogger(&log, LogConfig{Level: "info", Format: "text"})
	c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0"})
	started := make(chan struct{})
	s := NewServer(c, "proxy", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	}), logger)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "proxy listening addr="+s.Addr().String()) {
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
	// Close without Run lets go of the port.
	s = NewServer(c, "proxy", nil, http.NotFoundHandler(), logger)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
		conn.Close()
		t.Error("the port is still taken after Close")
	}
}
