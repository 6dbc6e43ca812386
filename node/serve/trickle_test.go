package serve

import (
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// waits returns when the condition holds.
func waits(t *testing.T, event string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + event)
		}
	}
}

// Two addresses that send heads of requests and then let bodies trickle in, on every
// connection that they get and also to the probe, keep out neither the probes nor
// requests from elsewhere. Those with a key are not cut.
func TestTricklingBodies(t *testing.T) {
	c := config(nil)
	c.MaxConns = 64
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/public":
			io.Copy(io.Discard, r.Body)
		case "/keyed":
			admit.Vouch(r.Context())
		case "/refused":
			fault.Write(w, r, fault.New(fault.InvalidKey))
		}
	})
	s := run(t, c)
	customer := from(t, s, "127.0.0.1")
	if status, _ := ask(customer, "/keyed"); status != 200 {
		t.Fatalf("the customer is answered %d", status)
	}

	end, floods := make(chan struct{}), sync.WaitGroup{}
	defer floods.Wait()
	defer close(end)
	for _, ip := range []string{"127.0.0.2", "127.0.0.3"} {
		for _, path := range []string{"/public", "/refused", "/readyz"} {
			floods.Go(func() { flood(t, s, ip, path, end) })
		}
	}
	waits(t, "both to hold all that they can", func() bool {
		open, counts := s.conns.open()
		return open >= c.MaxConns-c.MaxConns/knownShare && counts.refused > 2*probation
	})
	for i := range 10 {
		if status, _ := ask(from(t, s, "127.0.0.1"), "/readyz"); status != 200 {
			t.Errorf("probe %d is answered %d", i, status)
		}
		if status, _ := ask(from(t, s, "127.0.0.4"), "/keyed"); status != 200 {
			t.Errorf("a new customer is answered %d", status)
		}
		if status, _ := ask(customer, "/keyed"); status != 200 {
			t.Errorf("a customer's connection is answered %d", status)
		}
	}
}

// flood opens more connections than there are from ip, then one at a time in the place
// of those that were closed, and sends a byte of a body on each of them now and then.
func flood(t *testing.T, s *Server, ip, path string, end <-chan struct{}) {
	head := "POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for tick := time.NewTicker(time.Millisecond); ; {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		if len(open) < 2*s.cfg.MaxConns {
			if c, err := d.DialContext(t.Context(), "tcp", s.Addr().String()); err == nil {
				io.WriteString(c, head)
				open = append(open, c)
			}
			continue
		}
		c := open[0]
		c.SetDeadline(time.Now().Add(time.Second))
		if _, err := c.Write([]byte("x")); err != nil {
			c.Close()
			open = open[1:]
			continue
		}
		open = append(open[1:], c)
	}
}
