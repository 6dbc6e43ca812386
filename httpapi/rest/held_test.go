package rest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// stalled sends a call whose body stops 92 bytes short of its end, and returns its
// connection.
func stalled(t *testing.T, g *apitest.Rig, path, token string, size int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.Admin.Listener.Addr().String())
	apitest.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", path, token, size)
	io.WriteString(conn, strings.Repeat(" ", size-92)) // fails where the answer has come already
	return conn
}

// Bodies of every call share one memory: calls that stop short of their end fill it
// to its bound, the others are answered 503, and other accounts are served.
func TestStalledCalls(t *testing.T) {
	memory := bodies.NewMemory(4 << 20)
	g := apitest.New(t, func(c *httpapi.Config) { c.Bodies = memory })
	_, verify := g.Key("live", "verify", "limit")
	var answered []*http.Response
	answers := make(chan *http.Response)
	const calls = 24
	for i := range calls {
		path := []string{"/v1/keys/verify", "/v1/ratelimit"}[i%2]
		conn := stalled(t, g, path, verify, rest.MaxBody)
		go func() {
			if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				answers <- res
			}
		}()
	}
	for len(answered) < calls-4 {
		select {
		case res := <-answers:
			answered = append(answered, res)
		case <-time.After(time.Minute):
			t.Fatalf("%d calls were refused", len(answered))
		}
	}
	for _, res := range answered {
		if text, _ := io.ReadAll(res.Body); res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || !strings.Contains(string(text), string(fault.TooBusy)) {
			t.Fatalf("a call without credit: %d %v %s", res.StatusCode, res.Header, text)
		}
	}
	if held, refused := memory.Held(); held > 2<<20 || refused < calls-4 {
		t.Errorf("%d bytes are held, %d calls refused", held, refused)
	}
	account := g.Op("POST", "/v1/accounts", `{"name":"other","tier":"free"}`).Want(t, 201).Text("id")
	g.Op("POST", "/v1/keys", `{"name":"`+strings.Repeat("x", 100)+`","type":"live"}`, rest.AccountHeader, account).Want(t, 201)
}

// The memory of a call is free again when it ends, however it ends.
func TestHeldBytes(t *testing.T) {
	memory := bodies.NewMemory(4 << 20)
	g := apitest.New(t, func(c *httpapi.Config) { c.Bodies = memory })
	frame := g.Frame()
	for name, end := range map[string]func() error{
		"answered": func() error { return nil },
		"refused":  func() error { return fault.New(fault.Conflict) },
		"panicked": func() error { panic("a test") },
	} {
		r, _ := http.NewRequest("PUT", "/x", strings.NewReader(strings.Repeat("x", 100_000)))
		frame.Serve(&heldConn{ResponseRecorder: httptest.NewRecorder()}, r, &rest.Route{ID: name, Method: "PUT", Path: "/x", Access: rest.Open, Serve: func(c *rest.Call) error {
			raw, err := c.Body(rest.MaxBody, "text/plain")
			if held, _ := memory.Held(); err != nil || len(raw) != 100_000 || held < 100_000 {
				t.Errorf("%s: %d bytes of the body, %d held, %v", name, len(raw), held, err)
			}
			return end()
		}}, "", true)
		if held, _ := memory.Held(); held != 0 {
			t.Errorf("%s: %d bytes are held after the call", name, held)
		}
	}
}
