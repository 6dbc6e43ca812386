package apitest

import (
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// loops serve the connections of [Serve] during the second run of RunTwice; nil otherwise.
var loops *loop.Group

// RunTwice runs the tests of a package twice where the system has event loops: goroutines serve
// the connections of [Serve], and then loops do from the first octet on. Fuzzing and benchmarks run
// once. It returns the exit code.
func RunTwice(m *testing.M) int {
	code := m.Run()
	if code != 0 || flag.Lookup("test.fuzz").Value.String()+flag.Lookup("test.bench").Value.String() != "" {
		return code
	}
	g, err := loop.Start(runtime.GOMAXPROCS(0))
	if err != nil {
		return code
	}
	defer g.Close()
	loops, g.Early = g, true
	return m.Run()
}

// Endpoint is a listener that serves a handler.
type Endpoint struct {
	URL      string
	Listener net.Listener
}

// Serve serves h on loopback in plaintext until t ends, with both versions of HTTP, as a
// listener of a node does. A method Serve of h, as a proxy has it, gets the requests of
// HTTP/1.1.
func Serve(t testing.TB, h http.Handler) *Endpoint {
	t.Helper()
	if p, ok := h.(interface{ Serve(*h1.Exchange) }); ok {
		return ServeLane(t, h, func(*h1.Request) func(*h1.Exchange) { return p.Serve })
	}
	return ServeLane(t, h, nil)
}

// ServeLane is [Serve] with a field Lane for the requests of HTTP/1.1.
func ServeLane(t testing.TB, h http.Handler, lane func(*h1.Request) func(*h1.Exchange)) *Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	Must(t, err)
	s := &h1.Server{Handler: h, Lane: lane, LingerTime: fault.LingerTime, HTTP2: &http.Server{
		Handler: h, Protocols: new(http.Protocols), DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}}
	s.HTTP2.Protocols.SetUnencryptedHTTP2(true)
	if loops != nil {
		s.Loops, ln = loops, loop.Listener{Listener: ln}
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve %s: %v", ln.Addr(), err)
		}
	})
	return &Endpoint{"http://" + ln.Addr().String(), ln}
}
