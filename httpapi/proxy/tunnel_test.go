package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// upgraded opens a tunnel through r; early is sent right after the request.
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
	if _, err := br.Peek(len("hello ")); err != nil { // a tunnel that is cut before loses them
		r.t.Fatal(err)
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
	// The end of one direction reaches the upstream, and the end of the other comes
	// back.
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

// A handshake of WebSocket by another method than GET and an upgrade to HTTP/2 are dropped;
// the request goes on without them.
func TestWhichUpgradesPass(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s%s%s", r.Header["Upgrade"], r.Header["Connection"], r.Header["Http2-Settings"])
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
	for _, tt := range []struct{ method, lines, want string }{
		{"GET", "Upgrade: websocket", "[websocket][Upgrade][]"},
		{"GET", "Upgrade: WebSocket/13, x", "[WebSocket/13, x][Upgrade][]"},
		{"POST", "Upgrade: websocket", "[][][]"},
		{"OPTIONS", "Upgrade: x, WebSocket/13, y", "[x, y][Upgrade][]"},
		{"PUT", "Upgrade: x\r\nUpgrade: websocket", "[x][Upgrade][]"},
		{"POST", "Upgrade: x", "[x][Upgrade][]"}, // Docker and Kubernetes upgrade their own protocols by POST
		{"GET", "Upgrade:", "[][][]"},
		{"GET", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "[][][]"},
		{"GET", "Upgrade: H2C, websocket", "[websocket][Upgrade][]"},
		{"GET", "Upgrade: websocket\r\nUpgrade: h2c/1", "[websocket][Upgrade][]"},
		{"GET", "Upgrade: , ,", "[][][]"},
	} {
		res := r.raw(tt.method + " / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 0\r\nConnection: Upgrade, HTTP2-Settings\r\n" + tt.lines + "\r\n\r\n")
		if got := text(t, res); res.StatusCode != 200 || got != tt.want {
			t.Errorf("%s with %q: status %d, the upstream saw %s, want %s", tt.method, tt.lines, res.StatusCode, got, tt.want)
		}
	}
}

// The upstream chooses one of the protocols that the client lists, and no other.
func TestChoiceOfProtocols(t *testing.T) {
	for _, c := range []struct {
		method, asked, chosen string
		want                  int
	}{
		{"GET", "a/1, Websocket", "websocket", 101},
		{"GET", "a/1, websocket", "A/1", 101},
		{"GET", "a/1, websocket", "a", 502},
		{"GET", "a, h2c", "h2c", 502},
		{"GET", "a", "", 502},
		{"POST", "a, websocket", "a", 101},
		{"POST", "a, websocket", "websocket", 502},
		{"POST", "websocket", "websocket", 502},
	} {
		up := rawBackend(t, func(c2 net.Conn, br *bufio.Reader) {
			if _, err := http.ReadRequest(br); err == nil {
				fmt.Fprintf(c2, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", c.chosen)
			}
		})
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
		res := r.raw(c.method + " / HTTP/1.1\r\nHost: x\r\n" + cred + "Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: " + c.asked + "\r\n\r\n")
		if res.StatusCode != c.want {
			t.Errorf("%s asks for %q, the upstream chooses %q: status %d, want %d", c.method, c.asked, c.chosen, res.StatusCode, c.want)
		}
	}
}
