package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// secureUpstream is a server of TLS whose connections a test can reach.
func secureUpstream(t *testing.T, http2 bool, h http.HandlerFunc) (*httptest.Server, *Transport) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = http2
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	tr := newTransport(t)
	tr.TLS = &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, NextProtos: []string{"h2", "http/1.1"}}
	return srv, tr
}

func TestSecureUpstream(t *testing.T) {
	srv, tr := secureUpstream(t, false, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d %s", r.Proto, len(body), r.RemoteAddr)
	})
	var first string
	for i, b := range uploads {
		status, got, err := roundTrip(tr, newRequest(t, "POST", srv.URL, b.make()))
		if err != nil || status != 200 || !strings.HasPrefix(got, "HTTP/1.1 ") {
			t.Fatalf("%s: status %d, %q, %v", b.name, status, got, err)
		}
		eventually(t, "the connection is idle", func() bool { return len(tr.pool.idleOf(srv)) == 1 })
		if addr := got[strings.LastIndexByte(got, ' '):]; i == 0 {
			first = addr
		} else if addr != first {
			t.Errorf("%s: another connection, although the last one was in order", b.name)
		}
	}
	// A connection that the server has closed is noticed before anything is sent.
	srv.CloseClientConnections()
	if status, _, err := roundTrip(tr, newRequest(t, "POST", srv.URL, strings.NewReader("body"))); status != 200 {
		t.Errorf("after the server closed: status %d, %v", status, err)
	}
	res, err := tr.RoundTrip(newRequest(t, "GET", srv.URL, nil))
	if err != nil || res.TLS == nil || res.TLS.Version != tls.VersionTLS13 {
		t.Fatalf("%+v, %v", res, err)
	}
	res.Body.Close()
	tr.TLS.RootCAs = nil
	tr.CloseIdleConnections()
	var unknown *tls.CertificateVerificationError
	if _, _, err := roundTrip(tr, newRequest(t, "GET", srv.URL, nil)); !errors.As(err, new(*ConnectError)) || !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// idleOf lists the idle connections to a server.
func (p *pool) idleOf(srv *httptest.Server) []*persistConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle[place{Target: Target{"https", srv.Listener.Addr().String()}}]
}

// Surplus octets are noticed in TLS too, whether they came in the record of the answer, in
// a later one, or, with the end of the connection, after that was checked for the next
// request.
func TestSurplusOverTLS(t *testing.T) {
	now := make(chan bool)
	srv, tr := secureUpstream(t, false, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		switch r.URL.Path {
		case "/same":
			io.WriteString(c, okay+poison)
		case "/later":
			io.WriteString(c, okay)
			io.WriteString(c, poison)
			now <- true
		case "/last":
			io.WriteString(c, okay)
			if <-now {
				io.WriteString(c, poison)
				c.Close()
				now <- true
			}
		}
		rw.ReadByte() // until the client closes
	})
	for _, path := range []string{"/same", "/later", "/last"} {
		for i := range 20 {
			req := newRequest(t, "POST", srv.URL+path, nil)
			if path == "/last" {
				req = onReuse(req, func() { now <- true; <-now })
			}
			fetch(t, tr, req, "ok")
			if path == "/later" {
				within(t, "the surplus has been sent", now)
			}
			if path == "/last" && i == 19 {
				now <- false
			}
		}
	}
}

// A check between requests leaves TLS as it is, also in the middle of a record.
func TestCheckKeepsTLS(t *testing.T) {
	srv, tr := secureUpstream(t, false, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	for range 5 {
		fetch(t, tr, newRequest(t, "GET", srv.URL, nil), "ok")
		for range 10 {
			tr.pool.sweep()
		}
		if n := len(tr.pool.idleOf(srv)); n != 1 {
			t.Fatalf("%d idle connections", n)
		}
	}
}

// A server that speaks HTTP/2 is left to another client, with the connection.
func TestOtherProtocol(t *testing.T) {
	srv, tr := secureUpstream(t, true, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	_, _, err := roundTrip(tr, newRequest(t, "GET", srv.URL, nil))
	var other *ProtocolError
	if !errors.As(err, &other) || other.Protocol != "h2" || !strings.Contains(err.Error(), "h2") {
		t.Fatal(err)
	}
	other.Conn.Close()
}

func TestHandshakeTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr := newTransport(t)
	tr.TLSHandshakeTimeout = 20 * time.Millisecond
	_, _, err = roundTrip(tr, newRequest(t, "GET", "https://"+l.Addr().String(), nil))
	var timeout net.Error
	if !errors.As(err, new(*ConnectError)) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	tr.TLSHandshakeTimeout = patience
	tr.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		time.AfterFunc(time.Millisecond, func() { cancel(why) })
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	if _, _, err := roundTrip(tr, newRequest(t, "GET", "https://"+l.Addr().String(), nil).WithContext(ctx)); !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
}
