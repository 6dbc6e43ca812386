package h1

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that leaves ends the context of its request; one that sends the next request
// early does not, and loses nothing of it.
func TestClientLeaves(t *testing.T) {
	begun, over := make(chan bool, 1), make(chan bool, 1)
	addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			io.WriteString(w, "late")
			return
		}
		io.Copy(io.Discard, r.Body)
		begun <- true
		<-r.Context().Done()
		over <- true
	}))
	for name, text := range map[string]string{"no body": get + "\r\n", "a body": post + "Content-Length: 3\r\n\r\nabc"} {
		c, _ := dial(t, addr)
		io.WriteString(c, text)
		within(t, name, begun)
		c.Close()
		within(t, "the end of the context, "+name, over)
	}
	waiting, end := make(chan bool, 1), make(chan bool)
	addr = serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			waiting <- true
			<-end
			if r.Context().Err() != nil {
				t.Error("a request that came early canceled another")
			}
		}
		io.WriteString(w, r.RequestURI)
	}))
	c, br := dial(t, addr)
	io.WriteString(c, get+"\r\n")
	within(t, "the request", waiting)
	io.WriteString(c, "GET /early HTTP/1.1\r\nHost: a\r\n")
	time.AfterFunc(5*watchAfter, func() { close(end) }) // the octet is read meanwhile
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	io.WriteString(c, "Connection: close\r\n\r\n")
	if got, _ := io.ReadAll(br); !strings.HasSuffix(string(got), "\r\n\r\n/early") {
		t.Errorf("the early request is answered %q", got)
	}
}

// A hijacked connection has the octets that came after the request, early or late, and
// is its owner's.
func TestHijack(t *testing.T) {
	for _, late := range []bool{false, true} {
		begun, owned := make(chan bool, 1), make(chan net.Conn, 1)
		addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
			if late { // the client's octets come while it is watched
				begun <- true
				in := &w.(*response).c.in
				eventually(t, "an octet", func() bool { in.mu.Lock(); defer in.mu.Unlock(); return in.has })
			}
			nc, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if _, _, err := w.(http.Hijacker).Hijack(); err != http.ErrHijacked {
				t.Errorf("a second time: %v", err)
			}
			if _, err := io.WriteString(w, "x"); err != http.ErrHijacked {
				t.Errorf("Write after it: %v", err)
			}
			if rw.Reader.Buffered() == 0 && late { // owners may read what is buffered, and then the connection
				t.Error("the octet that came meanwhile is not in the buffer")
			}
			p := make([]byte, 5)
			io.ReadFull(rw, p)
			rw.WriteString("got " + string(p))
			rw.Flush()
			owned <- nc
		}))
		c, br := dial(t, addr)
		io.WriteString(c, get+"Connection: upgrade\r\nUpgrade: x\r\n\r\n")
		if late {
			within(t, "the handler", begun)
		}
		io.WriteString(c, "hello")
		p := make([]byte, len("got hello"))
		if _, err := io.ReadFull(br, p); err != nil || string(p) != "got hello" {
			t.Errorf("late %v: %q, %v", late, p, err)
		}
		nc := within(t, "the connection", owned)
		io.WriteString(nc, " more")
		nc.Close()
		if rest, err := io.ReadAll(br); string(rest) != " more" || err != nil {
			t.Errorf("late %v: %q, %v", late, rest, err)
		}
	}
	// The octets of a body must not be taken for the other protocol's.
	addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); err != errBodyLeft {
			t.Errorf("with a body: %v", err)
		}
	}))
	talk(t, addr, post+"Connection: close, upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc")
}

// certificate is one for tests.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// both serves both versions, over TLS if secure, and answers with the version and early
// with whether there is TLS.
func both(t *testing.T, secure bool) net.Addr {
	t.Helper()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.TLS != nil) != secure {
			t.Errorf("%s: TLS %v", r.Proto, r.TLS)
		}
		io.WriteString(w, r.Proto)
	})
	s := &Server{Handler: h, HTTP2: &http.Server{Handler: h, Protocols: new(http.Protocols)}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		s.HTTP2.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2", "http/1.1"}}
		ln = tls.NewListener(ln, s.HTTP2.TLSConfig)
	}
	s.HTTP2.Protocols.SetHTTP2(secure)
	s.HTTP2.Protocols.SetUnencryptedHTTP2(!secure)
	return serveOn(t, s, ln)
}

// Clients of both versions are served on one port, in plaintext and over TLS.
func TestBothVersions(t *testing.T) {
	for _, secure := range []bool{false, true} {
		addr := both(t, secure)
		for _, want := range []string{"HTTP/1.1", "HTTP/2.0"} {
			tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			scheme := "http"
			if secure {
				scheme = "https"
			}
			tr.Protocols.SetHTTP1(want == "HTTP/1.1")
			tr.Protocols.SetHTTP2(want == "HTTP/2.0" && secure)
			tr.Protocols.SetUnencryptedHTTP2(want == "HTTP/2.0" && !secure)
			res, err := (&http.Client{Transport: tr}).Get(scheme + "://" + addr.String())
			if err != nil {
				t.Errorf("%s, TLS %v: %v", want, secure, err)
				continue
			}
			if b, err := io.ReadAll(res.Body); string(b) != want || err != nil {
				t.Errorf("%s, TLS %v: %q, %v", want, secure, b, err)
			}
			tr.CloseIdleConnections()
		}
	}
}

// The preface of HTTP/2 may come in pieces; another request that begins like it is
// refused at its first other octet, without waiting for more.
func TestPreface(t *testing.T) {
	c, br := dial(t, both(t, false))
	for i := range len(preface) {
		io.WriteString(c, preface[i:i+1])
	}
	c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS
	if p, err := br.Peek(9); err != nil || p[3] != 4 {
		t.Errorf("the answer to the preface is %x, %v", p, err)
	}
	for text, want := range map[string]string{
		"PRI * HTTP/2.0\r\nA": "505", "PRI * HTTP/1.1\r\n\r\n": "400", "PRIZE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n": "200", "P / HTTP/1.1\n": "400",
	} {
		if got := talk(t, both(t, false), text); !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%q: %q, want %s", text, got, want)
		}
	}
	if got := talk(t, serve(t, answering(echoing)), preface); !strings.HasPrefix(got, "HTTP/1.1 505 ") {
		t.Errorf("without HTTP/2: %q", got)
	}
}

// A client that speaks plaintext to a port of TLS is told so; others just end.
func TestPlaintextOverTLS(t *testing.T) {
	addr := both(t, true)
	if got := talk(t, addr, get+"\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, errPlaintext.Message+"\n") {
		t.Errorf("%q", got)
	}
	c, br := dial(t, addr)
	io.WriteString(c, "EHLO example.com\r\n")
	if got, _ := io.ReadAll(br); strings.Contains(string(got), "HTTP/") {
		t.Errorf("another protocol is answered %q", got)
	}
}

// Over TLS, an answer ends with the end of TLS, and one that breaks off without it.
func TestEndOfTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := answering(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "abc")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
	})
	addr := serveOn(t, s, tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}))
	for path, whole := range map[string]bool{"/": true, "/broken": false} {
		for _, body := range []string{"", "Content-Length: 9999999\r\n"} {
			c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			io.WriteString(c, "POST "+path+" HTTP/1.0\r\n"+body+"\r\n")
			got, err := io.ReadAll(bufio.NewReader(c))
			if whole != (err == nil) || !strings.HasSuffix(string(got), "abc") {
				t.Errorf("%s with %q: %q, %v", path, body, got, err)
			}
			c.Close()
		}
	}
}
