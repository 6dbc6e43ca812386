package serve

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate for names into dir.
func pair(t *testing.T, dir string, now time.Time, names ...string) Source {
	t.Helper()
	s := Source{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	if err := makeSelfSigned(s.CertFile, s.KeyFile, names, now); err != nil {
		t.Fatal(err)
	}
	return s
}

// certificates opens the certificate at from.
func certificates(t *testing.T, from Source) *Certificates {
	t.Helper()
	c, err := OpenCertificates("proxy", from, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(s *Server, c *tls.Config) (*tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", s.Addr().String(), c)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
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
		tls12   bool
		max     uint16
		refused bool
	}{
		{false, tls.VersionTLS12, true},
		{false, tls.VersionTLS13, false},
		{true, tls.VersionTLS12, false},
		{true, tls.VersionTLS11, true},
	} {
		from := pair(t, t.TempDir(), time.Now(), "localhost")
		from.TLS12 = tt.tls12
		s := run(t, config(certificates(t, from)))
		_, err := dial(s, &tls.Config{InsecureSkipVerify: true, MaxVersion: tt.max, MinVersion: tls.VersionTLS10})
		if (err != nil) != tt.refused {
			t.Errorf("TLS 1.2 %v, client up to %x: %v", tt.tls12, tt.max, err)
		}
	}
}

// Both HTTP versions are spoken, with TLS and without.
func TestProtocols(t *testing.T) {
	certs := certificates(t, pair(t, t.TempDir(), time.Now(), "localhost"))
	for _, tt := range []struct {
		certs *Certificates
		http2 bool
		want  string
	}{{certs, false, "HTTP/1.1"}, {certs, true, "HTTP/2.0"}, {nil, false, "HTTP/1.1"}, {nil, true, "HTTP/2.0"}} {
		s := run(t, config(tt.certs))
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

// A changed pair is used, a bad one is not, and each fault is logged once.
func TestFollow(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	dir := t.TempDir()
	from := pair(t, dir, now, "localhost", "one")
	certs, err := OpenCertificates("proxy", from, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s := run(t, config(certs))
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
		t.Error("files that have not changed were loaded again")
	}
	certPEM, err := os.ReadFile(from.CertFile)
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
		func() { os.WriteFile(from.CertFile, certPEM, 0o600) }, // not the key's
		func() { os.WriteFile(from.CertFile, []byte("half a fi"), 0o600) },
		func() { os.Remove(from.KeyFile) },
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
			t.Errorf("a bad pair is logged %d times: %s", n, log.String())
		}
	}
	pair(t, dir, now, "localhost", "three")
	certs.poll()
	if got := served(); got != "localhost,three" {
		t.Errorf("after a good pair %s is served", got)
	}
}

func TestClientCA(t *testing.T) {
	from := pair(t, t.TempDir(), time.Now(), "localhost")
	// The client's certificate is its own authority here.
	client := pair(t, t.TempDir(), time.Now(), "client")
	from.ClientCAFile = client.CertFile
	certs := certificates(t, from)
	certs.current.Load().config.ClientAuth = tls.RequireAnyClientCert // its usage is a server's
	s := run(t, config(certs))
	if _, err := dial(s, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a client without a certificate is accepted")
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
	for _, tt := range []struct {
		from       Source
		file, says string
	}{
		{Source{CertFile: "/nonexistent", KeyFile: good.KeyFile}, "cert_file", "no such file"},
		{Source{CertFile: good.CertFile, KeyFile: "/nonexistent"}, "key_file", "no such file"},
		{Source{CertFile: good.CertFile, KeyFile: other.KeyFile}, "cert_file", "private key does not match public key"},
		{Source{CertFile: junk, KeyFile: good.KeyFile}, "cert_file", "tls: failed"},
		{Source{CertFile: good.CertFile, KeyFile: good.KeyFile, ClientCAFile: junk}, "client_ca_file", "there is no certificate"},
	} {
		_, err := OpenCertificates("proxy", tt.from, slog.New(slog.DiscardHandler))
		var f *FileError
		if !errors.As(err, &f) || f.File != tt.file || !strings.Contains(f.Err.Error(), tt.says) {
			t.Errorf("%+v: %v, want a fault of %s with %q", tt.from, err, tt.file, tt.says)
		}
	}
}

// A prepared certificate is used from the swap on, and its files are followed then.
// The floor of the TLS version stays.
func TestPrepare(t *testing.T) {
	now := time.Now()
	a, b := pair(t, t.TempDir(), now, "a"), pair(t, t.TempDir(), now, "b")
	certs := certificates(t, a)
	b.TLS12 = true
	swap, err := certs.Prepare(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := certs.Leaf().DNSNames[0]; got != "a" {
		t.Errorf("before the swap %s is served", got)
	}
	swap()
	if got := certs.Leaf().DNSNames[0]; got != "b" {
		t.Errorf("after the swap %s is served", got)
	}
	if v := certs.Config().MinVersion; v != tls.VersionTLS13 {
		t.Errorf("the floor moved to %x", v)
	}
	certs.poll()
	if got := certs.Leaf().DNSNames[0]; got != "b" {
		t.Errorf("the files of %s are followed after the swap", got)
	}
	bad := b
	bad.KeyFile = a.KeyFile
	if _, err := certs.Prepare(bad); err == nil {
		t.Error("a pair that does not match is prepared")
	}
	if got := certs.Leaf().DNSNames[0]; got != "b" {
		t.Errorf("after a bad pair %s is served", got)
	}
}

// A certificate that has ended does not replace one that is valid, but another one
// that has ended.
func TestPrepareRefusesAnEndedOne(t *testing.T) {
	now := time.Now()
	a, b, c := pair(t, t.TempDir(), now, "a"), pair(t, t.TempDir(), now.AddDate(-20, 0, 0), "b"), pair(t, t.TempDir(), now.AddDate(-30, 0, 0), "c")
	certs := certificates(t, a)
	var f *FileError
	if _, err := certs.Prepare(b); !errors.As(err, &f) || f.File != "cert_file" || !strings.Contains(err.Error(), "it expired at") || certs.Problem() != "" {
		t.Errorf("%v", err)
	}
	ended := certificates(t, b)
	if swap, err := ended.Prepare(c); err != nil || ended.Problem() == "" {
		t.Errorf("%v, %q", err, ended.Problem())
	} else if swap(); ended.Leaf().DNSNames[0] != "c" {
		t.Error(ended.Leaf().DNSNames)
	}
}

// selfSigned is the source of a certificate in dir that perfgate makes itself.
func selfSigned(dir string) Source {
	return Source{
		CertFile: filepath.Join(dir, "admin.crt"), KeyFile: filepath.Join(dir, "admin.key"),
		SelfSigned: SelfSignedNames("Node-1", ":0"),
	}
}

// A self-signed certificate is kept over restarts and renewed before it ends.
func TestSelfSigned(t *testing.T) {
	from := selfSigned(t.TempDir())
	a, b := certificates(t, from), certificates(t, from)
	if !bytes.Equal(a.Leaf().Raw, b.Leaf().Raw) {
		t.Error("a restart makes another certificate")
	}
	for _, name := range []string{from.CertFile, from.KeyFile} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	// Clients that are given the certificate as their authority accept it.
	s := run(t, config(a))
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

	// One from the future, of a clock that was ahead, is replaced.
	future := a.Leaf().Raw
	a.now = time.Now
	a.poll()
	if bytes.Equal(a.Leaf().Raw, future) || a.Leaf().NotBefore.After(time.Now()) {
		t.Error("a certificate from the future stays in use")
	}

	// A name that the old one does not cover makes a new one.
	from.SelfSigned = append(from.SelfSigned, "gate.example.com", "192.0.2.7")
	c := certificates(t, from)
	if err := errors.Join(c.Leaf().VerifyHostname("gate.example.com"), c.Leaf().VerifyHostname("192.0.2.7")); err != nil {
		t.Error(err)
	}
}

func TestSelfSignedNames(t *testing.T) {
	for listen, want := range map[string]string{"10.0.0.1:8081": "10.0.0.1", "Gate.Example.com:1": "gate.example.com", ":0": "node-1", "[::]:0": "localhost"} {
		names := SelfSignedNames("Node-1", listen)
		if !slices.Contains(names, want) || slices.Contains(names, "") || slices.Contains(names, "::") {
			t.Errorf("%s: names %q, want %s among them", listen, names, want)
		}
	}
}

// A half-written pair, as a crash leaves it, is made again.
func TestSelfSignedTorn(t *testing.T) {
	from := selfSigned(t.TempDir())
	for _, name := range []string{from.CertFile, from.KeyFile} {
		certificates(t, from)
		if err := os.WriteFile(name, []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCertificates("admin", from, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%s torn: %v", name, err)
		}
	}
	_, err := OpenCertificates("admin", selfSigned(filepath.Join(t.TempDir(), "missing")), slog.New(slog.DiscardHandler))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a data directory: %v", err)
	}
}
