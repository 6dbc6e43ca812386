package e2e

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Bytes that an upstream sends without a request stay out of the log.
func TestUnsolicitedBytesAreNotLogged(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Secret: of-another\r\n\r\n")
				io.Copy(io.Discard, c)
			}()
		}
	}()
	s := start(t, options{upstream: "http://" + ln.Addr().String()})
	key, _ := s.create(nil)
	for range 3 {
		if r := do(t, "GET", s.proxy+"/", as(key), nil); r.StatusCode != http.StatusOK || string(r.Raw) != "ok" {
			t.Fatalf("%s: %q", r.Status, r.Raw)
		}
	}
	s.stop()
	if strings.Contains(s.Output(), "of-another") {
		t.Errorf("the log repeats what an upstream sent:\n%s", s.Output())
	}
}
