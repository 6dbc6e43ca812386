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
