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

// events is an upstream that sends server-sent events, the next one when next has a
// value, and echoes the bytes of an upgraded connection.
func events(t *testing.T, next <-chan struct{}) string {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			io.Copy(conn, rw)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
			<-next
		}
	}))
	t.Cleanup(up.Close)
	return up.URL
}

// Server-sent events arrive one by one.
func TestEventStream(t *testing.T) {
	next := make(chan struct{})
	s := start(t, options{upstream: events(t, next)})
	key, _ := s.create(nil)
	req, _ := http.NewRequest("GET", s.proxy+"/sse", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := br.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		br.ReadString('\n')
		next <- struct{}{} // the upstream goes on only now: nothing was buffered
	}
}

// An upgraded connection is a tunnel, and ends when its key is revoked.
func TestTunnel(t *testing.T) {
	s := start(t, options{upstream: events(t, nil)})
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
