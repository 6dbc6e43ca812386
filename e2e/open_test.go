package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// endless is an upstream whose answers and tunnels do not end by themselves. open counts
// those under way.
func endless(t *testing.T) (url string, open *atomic.Int64) {
	open = new(atomic.Int64)
	junk := make([]byte, 64<<10)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		control := http.NewResponseController(w)
		path := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):]
		switch path {
		case "/wait":
			<-r.Context().Done()
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				io.WriteString(w, "data: x\n\n")
				control.Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		case "/sized", "/chunked":
			if path == "/sized" {
				w.Header().Set("Content-Length", fmt.Sprint(1<<40))
			}
			for {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		case "/upload":
			io.Copy(io.Discard, r.Body)
		case "/duplex":
			_ = control.EnableFullDuplex() // HTTP/2 always has it
			for {
				n, err := r.Body.Read(junk[:1<<10])
				if _, failed := w.Write(junk[:n]); failed != nil || err != nil {
					return
				}
				control.Flush()
			}
		case "/tunnel":
			conn, rw, err := control.Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
			io.Copy(conn, rw)
		}
	}))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetHTTP1(true)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(up.Close)
	return up.URL, open
}

// opener opens requests that do not end by themselves.
type opener struct {
	*testing.T
	*server
	secure bool
	key    string
	one    *http.Client
	two    *http.Client
	ends   sync.WaitGroup // of the clients that notice the end
}

func (o *opener) endsWith(f func() error) {
	o.ends.Go(func() {
		for f() == nil {
		}
	})
}

// raw sends a head over a connection of its own.
func (o *opener) raw(head string) (net.Conn, *bufio.Reader) {
	addr := o.proxy[strings.LastIndexByte(o.proxy, '/')+1:]
	var c net.Conn
	var err error
	if o.secure {
		c, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial("tcp", addr)
	}
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "%s\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", head, o.key)
	return c, bufio.NewReader(c)
}

// call sends a request by a client, and reads its answer until it ends.
func (o *opener) call(c *http.Client, method, path string, body io.Reader, h header) {
	req, err := http.NewRequest(method, o.proxy+path, body)
	if err != nil {
		o.Fatal(err)
	}
	for name, v := range as(o.key, h) {
		req.Header.Set(name, v)
	}
	o.ends.Go(func() {
		res, err := c.Do(req)
		if err != nil {
			return
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
	})
}

// tunnel opens an upgraded connection.
func (o *opener) tunnel(method, protocol string) (net.Conn, *bufio.Reader) {
	c, br := o.raw(method + " /one/tunnel HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: " + protocol)
	if line, _ := br.ReadString('\n'); !strings.Contains(line, " 101 ") {
		o.Fatalf("%s by %s: %q", protocol, method, line)
	}
	return c, br
}

// trickle yields an octet now and then.
type trickle struct{}

func (trickle) Read(p []byte) (int, error) {
	<-time.After(50 * time.Millisecond)
	p[0] = 'x'
	return 1, nil
}

// opened are the kinds of requests and tunnels that may last.
var opened = []struct {
	name string
	open func(o *opener)
}{
	{"an answer that is waited for", func(o *opener) { o.call(o.one, "GET", "/one/wait", nil, nil) }},
	{"events", func(o *opener) { o.call(o.one, "GET", "/one/events", nil, nil) }},
	{"events of HTTP/2", func(o *opener) { o.call(o.two, "GET", "/one/events", nil, nil) }},
	{"a download, spliced where it can be", func(o *opener) {
		_, br := o.raw("GET /one/sized HTTP/1.1")
		o.endsWith(func() error { _, err := br.Discard(1 << 10); return err })
	}},
	{"the same without a reader", func(o *opener) { o.raw("GET /one/sized HTTP/1.1") }},
	{"chunks without a reader", func(o *opener) { o.raw("GET /one/chunked HTTP/1.1") }},
	{"an upload, spliced where it can be", func(o *opener) {
		c, _ := o.raw(fmt.Sprintf("POST /one/upload HTTP/1.1\r\nContent-Length: %d", 1<<40))
		o.endsWith(func() error { _, err := c.Write(make([]byte, 64<<10)); return err })
	}},
	{"an upload that stands still", func(o *opener) {
		c, br := o.raw(fmt.Sprintf("POST /one/upload HTTP/1.1\r\nContent-Length: %d", 1<<40))
		c.Write(make([]byte, 1<<20))
		o.endsWith(func() error { _, err := br.Discard(1 << 20); return err })
	}},
	{"an upload in chunks", func(o *opener) { o.call(o.one, "POST", "/one/upload", trickle{}, nil) }},
	{"an upload of HTTP/2", func(o *opener) { o.call(o.two, "POST", "/one/upload", trickle{}, nil) }},
	{"a WebSocket that is silent", func(o *opener) {
		_, br := o.tunnel("GET", "websocket")
		o.endsWith(func() error { _, err := br.Discard(1 << 10); return err })
	}},
	{"a tunnel of another protocol, busy", func(o *opener) {
		c, br := o.tunnel("POST", "tcp")
		o.endsWith(func() error { _, err := c.Write(make([]byte, 16<<10)); return err })
		o.endsWith(func() error { _, err := br.Discard(1 << 10); return err })
	}},
	{"a stream of gRPC", func(o *opener) {
		o.call(o.two, "POST", "/two/duplex", trickle{}, header{"Content-Type": "application/grpc", "Te": "trailers"})
	}},
}

// owned is a server whose management calls name an account.
type owned struct {
	*server
	acct string
}

func (s owned) insist(status int, method, path string, body any) *reply {
	s.t.Helper()
	r := do(s.t, method, s.admin+path, as(s.operator, header{"X-Perf-Account": s.acct}), body)
	if r.StatusCode != status {
		s.t.Fatalf("%s %s: %s %s", method, path, r.Status, r.Raw)
	}
	return r
}

func (s owned) patch(id string, fields map[string]any) {
	s.t.Helper()
	s.insist(200, "PATCH", "/v1/keys/"+id, fields)
}

// lostRights are the ways in which a key loses a right that it uses.
var lostRights = []struct {
	name string
	take func(s owned, id string)
}{
	{"revoked", func(s owned, id string) { s.insist(200, "POST", "/v1/keys/"+id+"/revoke", map[string]any{}) }},
	{"disabled", func(s owned, id string) { s.patch(id, map[string]any{"state": "disabled"}) }},
	{"expired", func(s owned, id string) {
		s.patch(id, map[string]any{"expires_at": time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)})
		waitFor(s.t, "the key to expire", func() bool { return s.insist(200, "GET", "/v1/keys/"+id, nil).Str("state") == "expired" })
	}},
	{"rotated without overlap", func(s owned, id string) {
		s.insist(201, "POST", "/v1/keys/"+id+"/rotate", map[string]any{"overlap": "0s"})
	}},
	{"its scopes", func(s owned, id string) { s.patch(id, map[string]any{"scopes": []string{"verify"}}) }},
	{"its routes", func(s owned, id string) { s.patch(id, map[string]any{"routes": []string{"/other/"}}) }},
	{"its allowlist", func(s owned, id string) { s.patch(id, map[string]any{"allowlist": []string{"192.0.2.0/24"}}) }},
	{"its account's allowlist", func(s owned, id string) {
		s.insist(200, "PUT", "/v1/allowlist", map[string]any{"entries": []any{map[string]any{"cidr": "192.0.2.0/24"}}})
	}},
	{"its account", func(s owned, id string) { s.manage(200, "DELETE", "/v1/accounts/"+s.acct, nil) }},
	{"a scope that its routes require after a reload", func(s owned, id string) {
		raw, err := os.ReadFile(s.config)
		if err == nil {
			err = os.WriteFile(s.config, []byte(strings.ReplaceAll(string(raw), "upstreams", "require = [\"more\"]\nupstreams")), 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.Signal(syscall.SIGHUP)
		waitFor(s.t, "the reload", func() bool { return strings.Contains(s.Output(), "configuration reloaded") })
	}},
}

// Whatever is open on a key ends within 5 s after the key has lost a right that it needs, on
// the client's side and on the upstream's, in both versions of HTTP, in plaintext and over TLS.
func TestOpenRequestsEndWithTheirRight(t *testing.T) {
	up, open := endless(t)
	for _, secure := range []bool{false, true} {
		s := startBothVersions(t, up, secure)
		s.manage(200, "PATCH", "/v1/tiers/free", map[string]any{"features": map[string]any{"ip_allowlist": true}})
		for i, lost := range lostRights {
			if secure && i > 0 && i < len(lostRights)-1 {
				continue // the connection makes no difference to what is judged
			}
			t.Run(fmt.Sprintf("%s, TLS %v", lost.name, secure), func(t *testing.T) { s.endsAll(t, secure, open, lost.take) })
		}
	}
}

// endsAll opens one request of each kind, takes a right away, and waits for their ends.
func (s *server) endsAll(t *testing.T, secure bool, open *atomic.Int64, take func(s owned, id string)) {
	of := owned{s, s.manage(201, "POST", "/v1/accounts", map[string]any{"name": "a"}).Str("id")}
	r := of.insist(201, "POST", "/v1/keys", map[string]any{"name": "k", "type": "live"})
	o := &opener{T: t, server: s, secure: secure, key: r.Str("key")}
	for version, c := range map[int]**http.Client{1: &o.one, 2: &o.two} {
		p := new(http.Protocols)
		p.SetHTTP1(version == 1)
		p.SetHTTP2(version == 2 && secure)
		p.SetUnencryptedHTTP2(version == 2 && !secure)
		*c = &http.Client{Transport: &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		t.Cleanup((*c).CloseIdleConnections)
	}
	before := open.Load()
	for i, kind := range opened {
		kind.open(o)
		waitFor(t, kind.name+" is open", func() bool { return open.Load() == before+int64(i)+1 })
	}
	take(of, r.Str("id"))
	began, ended := time.Now(), make(chan bool)
	go func() {
		o.ends.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(startTimeout):
		t.Error("a client still waits")
	}
	waitFor(t, "the upstream learns of the ends", func() bool { return open.Load() == before })
	// 5 s are promised; the rest is for a loaded machine.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("all have ended after %v", took)
	} else {
		t.Logf("all have ended after %v", took.Round(time.Millisecond))
	}
}
