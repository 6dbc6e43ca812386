package serve

import (
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// onLoops has the listeners of tests serve on event loops.
var onLoops bool

// TestMain runs all tests twice where there are event loops: without them, and with them.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && runtime.GOOS == "linux" {
		onLoops = true
		code = m.Run()
	}
	os.Exit(code)
}

// Connections come to the loops after their first answer and are served there, also after a
// request that the lane leaves to the handler, and the end of the server closes them.
func TestEventLoops(t *testing.T) {
	c := config(nil)
	c.EventLoops = true
	c.Lane = func(r *h1.Request) func(*h1.Exchange) {
		if r.Path == "/handler" {
			return nil
		}
		return func(x *h1.Exchange) {
			x.Begin(200, new(h1.Fields), nil, 5)
			io.WriteString(x, "hello")
		}
	}
	s := run(t, c)
	if s.http.Loops == nil {
		t.Skip("there are no event loops here")
	}
	var conns []net.Conn
	for range 4 {
		conn := from(t, s, "127.0.0.1")
		conns = append(conns, conn)
		for _, path := range []string{"/", "/", "/handler", "/", "/"} {
			if status, _ := ask(conn, path); status != 200 {
				t.Fatalf("%s is answered %d", path, status)
			}
		}
	}
	waits(t, "the landings", func() bool {
		landed, left := s.http.Loops.Counts()
		return landed == left+int64(len(conns))
	})
	if _, left := s.http.Loops.Counts(); left == 0 {
		t.Error("the handler's requests were served on a loop")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection after the shutdown: %v", err)
		}
	}
}
