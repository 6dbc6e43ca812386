package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	slow chan bool // a request for /slow has come to an upstream
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, slow: make(chan bool, 1)}
	a.file, _ = a.sign("authority", time.Hour)
	return a
}

// sign makes a certificate for a name, which ends after a time, with its key. The first
// one is the authority's own.
func (a *authority) sign(name string, lasts time.Duration) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(lasts),
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.cert, a.key = c, key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemFile(a.t, "CERTIFICATE", der), pemFile(a.t, "PRIVATE KEY", raw)
}

func pemFile(t *testing.T, kind string, raw []byte) string {
	t.Helper()
	return textFile(t, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})))
}

func textFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secured is an https upstream with a certificate for "upstream.internal", which answers
// with the protocol, the name of the client's certificate and the client's address. It
// asks for a certificate of clients, if that is not nil.
func (a *authority) secured(http2 bool, lasts time.Duration, clients *authority) (url string) {
	a.t.Helper()
	cert, err := tls.LoadX509KeyPair(a.sign("upstream.internal", lasts))
	if err != nil {
		a.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		if r.URL.Path == "/slow" {
			a.slow <- true
			io.Copy(io.Discard, r.Body)
		}
		fmt.Fprintf(w, "%s %s %s", r.Proto, name, r.RemoteAddr)
	}))
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	if clients != nil {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		s.TLS.ClientCAs.AddCert(clients.cert)
	}
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s.URL
}

// shown is the TLS of a route that trusts a and shows a certificate.
func (a *authority) shown(name string) UpstreamTLS {
	u := UpstreamTLS{CAFile: a.file, ServerName: "upstream.internal"}
	u.CertFile, u.KeyFile = a.sign(name, time.Hour)
	return u
}

// An upstream that does not have the certificate that its route asks for, or does not
// accept the one that it gets, is 502 for clients. The log says what to do.
func TestUpstreamTLS(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	good := ours.shown("gate")
	foreign := others.shown("gate")
	foreign.CAFile = ours.file
	plain := backend(t, func(http.ResponseWriter, *http.Request) {})
	for _, two := range []bool{false, true} {
		proto := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[two]
		open, asks, old := ours.secured(two, time.Hour, nil), ours.secured(two, time.Hour, ours), ours.secured(two, -time.Hour, nil)
		for name, c := range map[string]struct {
			url  string
			tls  UpstreamTLS
			want string // how the answer begins; after LOG, a part of the log for a 502
		}{
			"the authority":             {open, UpstreamTLS{CAFile: ours.file, ServerName: "upstream.internal"}, proto + " nobody "},
			"a certificate unasked":     {open, good, proto + " nobody "},
			"our certificate":           {asks, good, proto + " gate "},
			"the system's authorities":  {open, UpstreamTLS{ServerName: "upstream.internal"}, "LOG x509: certificate signed by unknown authority; name the authority that signed the upstream's certificate in upstream_tls.ca_file of the route"},
			"another authority":         {open, UpstreamTLS{CAFile: others.file, ServerName: "upstream.internal"}, "LOG in upstream_tls.ca_file of the route"},
			"another name":              {open, UpstreamTLS{CAFile: ours.file}, "LOG set upstream_tls.server_name of the route"},
			"a certificate of the past": {old, UpstreamTLS{CAFile: ours.file, ServerName: "upstream.internal"}, "LOG replace the upstream's certificate"},
			"no certificate of ours":    {asks, UpstreamTLS{CAFile: ours.file, ServerName: "upstream.internal"}, "LOG if the upstream asks for a certificate, set upstream_tls.cert_file"},
			"another's certificate":     {asks, foreign, "LOG replace upstream_tls.cert_file and key_file"},
			"no TLS":                    {strings.Replace(plain, "http:", "https:", 1), good, "LOG write http:// in upstreams of the route"},
		} {
			t.Run(name+" over "+proto, func(t *testing.T) {
				r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{c.url}, UpstreamTLS: c.tls})
				for _, method := range []string{"GET", "POST"} {
					res := r.do(method, "/", map[string]string{"POST": "body"}[method])
					body := text(t, res)
					log, bad := strings.CutPrefix(c.want, "LOG ")
					if !bad && (res.StatusCode != 200 || !strings.HasPrefix(body, c.want)) {
						t.Errorf("%s: status %d, %q, want %q; log\n%s", method, res.StatusCode, body, c.want, r.out.String())
					}
					if bad && (res.StatusCode != 502 || strings.Contains(body, "upstream_tls") || strings.Contains(body, "127.0.0.1")) {
						t.Errorf("%s: status %d, %q", method, res.StatusCode, body)
					}
					if bad && strings.Count(r.out.String(), log) == 0 {
						t.Errorf("%s: the log\n%slacks %q", method, r.out.String(), log)
					}
				}
			})
		}
	}
}

// Connections belong to one identity: a route never uses those of another with the same
// upstream, nor those from before its identity changed, idle or in use.
func TestIdentitiesShareNoConnection(t *testing.T) {
	a := newAuthority(t)
	for _, two := range []bool{false, true} {
		up := a.secured(two, time.Hour, a)
		first, second, third := a.shown("first"), a.shown("second"), a.shown("third")
		routes := func(of, other UpstreamTLS) []Route {
			return []Route{{Path: "/", Upstreams: []string{up}, UpstreamTLS: of}, {Path: "/other", Upstreams: []string{up}, UpstreamTLS: other}}
		}
		r := newRig(t, Settings{}, routes(first, second)...)
		ask := func(path string) (name, addr string) {
			t.Helper()
			parts := strings.Fields(text(t, r.do("GET", path, "")))
			if len(parts) != 3 {
				t.Fatalf("%v; log\n%s", parts, r.out.String())
			}
			return parts[1], parts[2]
		}
		used := map[string]string{} // names by address
		for range 5 {
			for path, want := range map[string]string{"/": "first", "/other": "second"} {
				name, addr := ask(path)
				if before := used[addr]; name != want || before != "" && before != want {
					t.Errorf("HTTP/2 %v: %s as %q over a connection of %q", two, path, name, before)
				}
				used[addr] = name
			}
		}
		if len(used) != 2 {
			t.Errorf("HTTP/2 %v: connections %v", two, used)
		}
		// One request is under way while the identity changes. Its connection is as good as
		// new when it ends.
		body, feed := io.Pipe()
		req, _ := http.NewRequest("POST", r.srv.URL+"/slow", body)
		req.Header.Set("Authorization", "Bearer good")
		slow := make(chan string, 1)
		go func() {
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				slow <- err.Error()
				return
			}
			defer res.Body.Close()
			raw, _ := io.ReadAll(res.Body)
			slow <- string(raw)
		}()
		io.WriteString(feed, "x")
		within(t, "the slow request is under way", a.slow)
		r.Reload(Settings{Table: compile(t, routes(third, second)...)})
		if name, addr := ask("/"); name != "third" || used[addr] != "" {
			t.Errorf("HTTP/2 %v: after the reload %q, over a connection of %q", two, name, used[addr])
		}
		feed.Close()
		if got := within(t, "the slow request", slow); !strings.Contains(got, " first ") {
			t.Errorf("HTTP/2 %v: the request under way: %s", two, got)
		}
		for range 5 {
			if name, addr := ask("/"); name != "third" || used[addr] != "" {
				t.Errorf("HTTP/2 %v: then %q, over a connection of %q", two, name, used[addr])
			}
			if name, _ := ask("/other"); name != "second" {
				t.Errorf("HTTP/2 %v: the other route as %q", two, name)
			}
		}
	}
}

// What cannot work is a fault of the configuration, with its key; what will not work for
// long is a warning.
func TestUpstreamTLSFaults(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.sign("gate", 90*24*time.Hour)
	soon, soonKey := a.sign("gate", time.Hour)
	old, oldKey := a.sign("gate", -time.Hour)
	_, otherKey := a.sign("gate", time.Hour)
	for _, c := range []struct {
		name, url, key string
		tls            UpstreamTLS
		want           string // "" is sound
		warning        bool
	}{
		{"sound", "https://h", "", UpstreamTLS{CertFile: cert, KeyFile: key, ServerName: "10.0.0.1"}, "", false},
		{"nothing", "http://h", "", UpstreamTLS{}, "", false},
		{"no https", "http://h", "upstream_tls", UpstreamTLS{ServerName: "h"}, "no upstream of this route begins with https://", false},
		{"no https, but h2c", "h2c://h", "upstream_tls", UpstreamTLS{CAFile: a.file}, "no upstream of this route begins with https://", false},
		{"no such file", "https://h", "upstream_tls.ca_file", UpstreamTLS{CAFile: "/none"}, "no such file", false},
		{"a directory", "https://h", "upstream_tls.ca_file", UpstreamTLS{CAFile: t.TempDir()}, "is a directory", false},
		{"too large", "https://h", "upstream_tls.ca_file", UpstreamTLS{CAFile: textFile(t, strings.Repeat("x", maxPEM+1))}, "it is larger than 1048576 bytes", false},
		{"no certificate", "https://h", "upstream_tls.ca_file", UpstreamTLS{CAFile: key}, "there is no certificate in it", false},
		{"a broken certificate", "https://h", "upstream_tls.ca_file", UpstreamTLS{CAFile: pemFile(t, "CERTIFICATE", []byte("x"))}, "certificate 1 of it cannot be read", false},
		{"no key", "https://h", "upstream_tls.cert_file", UpstreamTLS{CertFile: cert}, "key_file must be set too", false},
		{"only a key", "https://h", "upstream_tls.key_file", UpstreamTLS{KeyFile: key}, "cert_file must be set too", false},
		{"another key", "https://h", "upstream_tls.cert_file", UpstreamTLS{CertFile: cert, KeyFile: otherKey}, "does not match", false},
		{"no such key", "https://h", "upstream_tls.key_file", UpstreamTLS{CertFile: cert, KeyFile: "/none"}, "no such file", false},
		{"no such certificate", "https://h", "upstream_tls.cert_file", UpstreamTLS{CertFile: "/none", KeyFile: key}, "no such file", false},
		{"a name with a port", "https://h", "upstream_tls.server_name", UpstreamTLS{ServerName: "h:443"}, "must be a host name", false},
		{"ends soon", "https://h", "upstream_tls.cert_file", UpstreamTLS{CertFile: soon, KeyFile: soonKey}, "the certificate ends soon, at ", true},
		{"has ended", "https://h", "upstream_tls.cert_file", UpstreamTLS{CertFile: old, KeyFile: oldKey}, "the certificate is not valid now: it expired at ", true},
		{"an authority ends soon", "https://h", "upstream_tls.ca_file", UpstreamTLS{CAFile: a.file}, "the certificate of the authority CN=authority ends soon", true},
	} {
		table, err := Compile([]Route{{Path: "/", Upstreams: []string{c.url}, UpstreamTLS: c.tls}}, os.LookupEnv)
		var found []string
		switch {
		case c.warning && err == nil:
			for _, w := range table.Warnings() {
				found = append(found, w.Error())
			}
		case err != nil:
			found = append(found, err.Error())
		case len(table.Warnings()) > 0:
			t.Errorf("%s: warns of %v", c.name, table.Warnings())
		}
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || !strings.HasPrefix(found[0], "proxy.routes[0]."+c.key+" = ") || !strings.Contains(found[0], c.want)) {
			t.Errorf("%s: %q, want %q of %s", c.name, found, c.want, c.key)
		}
	}
}

// Other failures need no advice on TLS. A connection that ends while a request is written
// may be one that TLS has refused.
func TestAdviceIsForTLS(t *testing.T) {
	r := &route{}
	broken := &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	plain, secured := &url.URL{Scheme: "http"}, &url.URL{Scheme: "https"}
	for _, err := range []error{io.EOF, &net.OpError{Op: "dial", Err: io.EOF}, &net.OpError{Op: "remote error", Err: io.EOF}} {
		if got := r.adviseTLS(secured, err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
	for _, err := range []error{broken, reset} {
		if got := r.adviseTLS(plain, err); got != err {
			t.Errorf("over http, %v became %v", err, got)
		}
		if got := r.adviseTLS(secured, err); !errors.Is(got, err) || !strings.Contains(got.Error(), "set upstream_tls.cert_file") {
			t.Errorf("over https, %v became %v", err, got)
		}
	}
}
