package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate for names into dir and returns its table for the file.
func pair(t *testing.T, dir string, now time.Time, names ...string) TLSConfig {
	t.Helper()
	c := TLSConfig{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), MinVersion: "1.3"}
	if err := makeSelfSigned(c.CertFile, c.KeyFile, names, now); err != nil {
		t.Fatal(err)
	}
	return c
}

// serve runs the listener name of c with a handler that answers "hello".
func serve(t *testing.T, c *Config, name string, certs *Certificates, log io.Writer) *Server {
	t.Helper()
	logger, _ := NewLogger(log, LogConfig{Level: "debug", Format: "text"})
	s := NewServer(c, name, certs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello "+r.Proto+" "+r.RemoteAddr)
	}), logger)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return s
}

func dial(s *Server, c *tls.Config) (*tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", s.Addr().String(), c)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	// In TLS 1.3 the server judges a client's certificate after the client's
	// handshake has ended: only an answer shows that it was taken.
	if conn.ConnectionState().NegotiatedProtocol == "" {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return nil, err
		}
	}
	state := conn.ConnectionState()
	return &state, nil
}

func TestFloor(t *testing.T) {
	for _, tt := range []struct {
		name    string
		floor   string
		max     uint16
		refused bool
	}{
		{"proxy", "1.3", tls.VersionTLS12, true},
		{"proxy", "1.3", tls.VersionTLS13, false},
		{"proxy", "1.2", tls.VersionTLS12, false},
		{"proxy", "1.2", tls.VersionTLS11, true},
		{"admin", "1.3", tls.VersionTLS12, true},
		{"admin", "1.3", tls.VersionTLS13, false},
	} {
		c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"})
		files := pair(t, t.TempDir(), time.Now(), "localhost")
		files.MinVersion = tt.floor
		c.Proxy.TLS, c.Admin.TLS = files, files
		certs, err := OpenCertificates(c, tt.name, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s := serve(t, c, tt.name, certs, io.Discard)
		_, err = dial(s, &tls.Config{InsecureSkipVerify: true, MaxVersion: tt.max, MinVersion: tls.VersionTLS10})
		if (err != nil) != tt.refused {
			t.Errorf("%s with floor %s, client up to %x: %v", tt.name, tt.floor, tt.max, err)
		}
	}
}

// Both HTTP versions are spoken, with TLS and without.
func TestProtocols(t *testing.T) {
	c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0"})
	c.Proxy.TLS = pair(t, t.TempDir(), time.Now(), "localhost")
	certs, err := OpenCertificates(c, "proxy", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		certs *Certificates
		http2 bool
		want  string
	}{{certs, false, "HTTP/1.1"}, {certs, true, "HTTP/2.0"}, {nil, false, "HTTP/1.1"}, {nil, true, "HTTP/2.0"}} {
		s := serve(t, c, "proxy", tt.certs, io.Discard)
		tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer tr.CloseIdleConnections()
		scheme := "http://"
		tr.Protocols.SetHTTP1(!tt.http2)
		tr.Protocols.SetUnencryptedHTTP2(tt.http2 && tt.certs == nil)
		tr.Protocols.SetHTTP2(tt.http2 && tt.certs != nil)
		if tt.certs != nil {
			scheme = "https://"
		}
		resp, err := (&http.Client{Transport: tr}).Get(scheme + s.Addr().String())
		if err != nil {
			t.Errorf("TLS %v, HTTP/2 %v: %v", tt.certs != nil, tt.http2, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), tt.want) {
			t.Errorf("TLS %v, HTTP/2 %v: %s", tt.certs != nil, tt.http2, body)
		}
	}
}

// A changed pair is taken over, a bad one is not, and one fault is told once.
func TestFollow(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	dir := t.TempDir()
	c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0"})
	c.Proxy.TLS = pair(t, dir, now, "localhost", "one")
	logger, _ := NewLogger(&log, LogConfig{Level: "info", Format: "text"})
	certs, err := OpenCertificates(c, "proxy", logger)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, c, "proxy", certs, io.Discard)
	served := func() string {
		state, err := dial(s, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(state.PeerCertificates[0].DNSNames, ",")
	}
	first := certs.current.Load()
	certs.poll()
	if certs.current.Load() != first {
		t.Error("files that have not changed were taken over")
	}
	certPEM, err := os.ReadFile(c.Proxy.TLS.CertFile)
	if err != nil {
		t.Fatal(err)
	}

	pair(t, dir, now, "localhost", "two")
	if got := served(); got != "localhost,one" {
		t.Errorf("before the poll %s is served", got)
	}
	certs.poll()
	if got := served(); got != "localhost,two" {
		t.Errorf("after the poll %s is served", got)
	}

	for _, bad := range []func(){
		func() { os.WriteFile(c.Proxy.TLS.CertFile, certPEM, 0o600) }, // not the key's
		func() { os.WriteFile(c.Proxy.TLS.CertFile, []byte("half a fi"), 0o600) },
		func() { os.Remove(c.Proxy.TLS.KeyFile) },
		func() { pair(t, dir, now.Add(-2*selfSignedLife), "localhost", "ended") },
	} {
		log.Reset()
		bad()
		certs.poll()
		certs.poll()
		if got := served(); got != "localhost,two" {
			t.Errorf("a bad pair: %s is served", got)
		}
		if n := strings.Count(log.String(), "the old one stays"); n != 1 {
			t.Errorf("a bad pair is told %d times: %s", n, log.String())
		}
	}
	pair(t, dir, now, "localhost", "three")
	certs.poll()
	if got := served(); got != "localhost,three" {
		t.Errorf("after a good pair %s is served", got)
	}
}

func TestClientCA(t *testing.T) {
	c := mustLoad(t, []string{"--proxy-listen", "127.0.0.1:0"})
	c.Proxy.TLS = pair(t, t.TempDir(), time.Now(), "localhost")
	// The client's certificate is its own authority here.
	dir := t.TempDir()
	client := pair(t, dir, time.Now(), "client")
	c.Proxy.TLS.ClientCAFile = client.CertFile
	certs, err := OpenCertificates(c, "proxy", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	certs.current.Load().config.ClientAuth = tls.RequireAnyClientCert // its usage is a server's
	s := serve(t, c, "proxy", certs, io.Discard)
	if _, err := dial(s, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a client without a certificate gets in")
	}
	own, err := tls.LoadX509KeyPair(client.CertFile, client.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(s, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{own}}); err != nil {
		t.Error(err)
	}
}

func TestBadFiles(t *testing.T) {
	good := pair(t, t.TempDir(), time.Now(), "localhost")
	other := pair(t, t.TempDir(), time.Now(), "localhost")
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, tls := range map[string]TLSConfig{
		`proxy.tls.cert_file = "/nonexistent": no such file`: {CertFile: "/nonexistent", KeyFile: good.KeyFile},
		`proxy.tls.key_file = "/nonexistent": no such file`:  {CertFile: good.CertFile, KeyFile: "/nonexistent"},
		"private key does not match public key":              {CertFile: good.CertFile, KeyFile: other.KeyFile},
		`junk": tls: failed`:                                 {CertFile: junk, KeyFile: good.KeyFile},
		`junk": there is no certificate`:                     {CertFile: good.CertFile, KeyFile: good.KeyFile, ClientCAFile: junk},
	} {
		c := mustLoad(t, []string{"--config", write(t, fmt.Sprintf("[proxy.tls]\ncert_file = %q\nkey_file = %q\nclient_ca_file = %q", tls.CertFile, tls.KeyFile, tls.ClientCAFile))})
		_, err := OpenCertificates(c, "proxy", slog.New(slog.DiscardHandler))
		if exitCode(err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a usage error with %q", err, want)
		}
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want %q", err, want)
		}
	}
}

// Off loopback, an admin listener without certificates makes its own, keeps it
// over restarts and renews it before it ends.
func TestSelfSigned(t *testing.T) {
	for _, tt := range []struct {
		listen   string
		insecure bool
		tls      bool
	}{
		{"127.0.0.1:0", false, false}, {"[::1]:0", false, false}, {"localhost:0", false, false}, {"127.9.9.9:0", false, false},
		{":0", false, true}, {"0.0.0.0:0", false, true}, {"10.0.0.1:0", false, true}, {"example.com:0", false, true},
		{":0", true, false},
	} {
		c := mustLoad(t, []string{"--admin-listen", tt.listen, "--data-dir", t.TempDir()})
		c.Admin.Insecure = tt.insecure
		certs, err := OpenCertificates(c, "admin", slog.New(slog.DiscardHandler))
		if err != nil || (certs != nil) != tt.tls {
			t.Errorf("%s, insecure %v: TLS %v, %v; want %v", tt.listen, tt.insecure, certs != nil, err, tt.tls)
		}
	}

	dir := t.TempDir()
	open := func() *Certificates {
		c := mustLoad(t, []string{"--admin-listen", ":0", "--data-dir", dir, "--name", "Node-1"})
		certs, err := OpenCertificates(c, "admin", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return certs
	}
	a, b := open(), open()
	if !bytes.Equal(a.Leaf().Raw, b.Leaf().Raw) {
		t.Error("a restart makes another certificate")
	}
	for _, name := range []string{adminCertFile, adminKeyFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	// Clients that are given the certificate as their authority take it.
	c := mustLoad(t, []string{"--admin-listen", ":0", "--data-dir", dir})
	s := serve(t, c, "admin", a, io.Discard)
	pool := x509.NewCertPool()
	pool.AddCert(a.Leaf())
	_, port, _ := net.SplitHostPort(s.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost"} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + net.JoinHostPort(host, port))
		if err != nil {
			t.Error(err)
			continue
		}
		resp.Body.Close()
		tr.CloseIdleConnections()
	}

	a.now = func() time.Time { return time.Now().Add(selfSignedLife - selfSignedRenew - 2*time.Hour) }
	a.poll()
	if !bytes.Equal(a.Leaf().Raw, b.Leaf().Raw) {
		t.Error("renewed too early")
	}
	a.now = func() time.Time { return time.Now().Add(selfSignedLife - selfSignedRenew) }
	a.poll()
	if bytes.Equal(a.Leaf().Raw, b.Leaf().Raw) {
		t.Error("not renewed before its end")
	}
}

// A half-written pair, as a crash leaves it, is made again.
func TestSelfSignedTorn(t *testing.T) {
	dir := t.TempDir()
	c := mustLoad(t, []string{"--admin-listen", ":0", "--data-dir", dir})
	for _, name := range []string{adminCertFile, adminKeyFile} {
		if _, err := OpenCertificates(c, "admin", slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCertificates(c, "admin", slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%s torn: %v", name, err)
		}
	}
	c.Node.DataDir = filepath.Join(dir, "missing")
	_, err := OpenCertificates(c, "admin", slog.New(slog.DiscardHandler))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a data directory: %v", err)
	}
}
