package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// tunnels is an upstream that echoes the bytes of an upgraded connection.
func tunnels(t *testing.T) string {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(conn, rw)
	}))
	t.Cleanup(up.Close)
	return up.URL
}

// An upgraded connection is a tunnel, and ends when its key is revoked.
func TestTunnel(t *testing.T) {
	s := start(t, options{upstream: tunnels(t)})
	key, id := s.create(nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(startTimeout))
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: Bearer %s\r\n\r\n", key)
	br := bufio.NewReader(conn)
	up101, err := http.ReadResponse(br, nil)
	if err != nil || up101.StatusCode != 101 {
		t.Fatalf("%v %v", up101, err)
	}
	fmt.Fprint(conn, "hello\n")
	if line, err := br.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	// A tunnel of a revoked key is closed within 5 s; the rest is for a loaded machine.
	s.manage(200, "POST", "/v1/keys/"+id+"/revoke", map[string]any{})
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := br.ReadByte(); err == nil || os.IsTimeout(err) {
		t.Errorf("the tunnel of a revoked key is still open: %v", err)
	}
}
