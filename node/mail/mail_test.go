package mail

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// relay is a real SMTP server that keeps what it gets.
type relay struct {
	mu       sync.Mutex
	messages []string
	from     string
	to       []string
	secure   bool // the message came over TLS
	user     string
}

type session struct {
	r    *relay
	conn *smtp.Conn
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "perfgate" || password != "secret" {
			return errors.New("wrong password")
		}
		s.r.mu.Lock()
		defer s.r.mu.Unlock()
		s.r.user = username
		return nil
	}), nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.from, s.r.to = from, nil
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.to = append(s.r.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.messages = append(s.r.messages, string(raw))
	_, s.r.secure = s.conn.TLSConnectionState()
	return err
}

// certificate is one for localhost, and the pool that trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, pool
}

// serve starts a relay, with TLS if config is set.
func serve(t *testing.T, config *tls.Config) (r *relay, addr string) {
	t.Helper()
	r = new(relay)
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{r, c}, nil }))
	srv.Domain, srv.TLSConfig, srv.AllowInsecureAuth = "localhost", config, config == nil
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return r, "localhost:" + port
}

func TestSend(t *testing.T) {
	config, pool := certificate(t)
	r, addr := serve(t, config)
	s := New(Config{
		Server: addr, From: "perfgate@example.com", To: []string{"a@example.com", "b@example.com"}, Username: "perfgate", Password: "secret", Roots: pool,
	})
	if err := s.Send(t.Context(), "perfgate: 2 alerts ✓", "one\ntwo €\n.\nthree\n"); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.messages) != 1 || r.from != "perfgate@example.com" || strings.Join(r.to, " ") != "a@example.com b@example.com" || !r.secure || r.user != "perfgate" {
		t.Fatalf("%+v", r)
	}
	for _, part := range []string{"Auto-Submitted: auto-generated", "To: <a@example.com>", "one\r\ntwo =E2=82=AC\r\n.\r\nthree", "Subject: =?UTF-8?q?perfgate:_2_alerts_=E2=9C=93?="} {
		if !strings.Contains(r.messages[0], part) {
			t.Errorf("no %q in\n%s", part, r.messages[0])
		}
	}
}

// Off loopback, a server without TLS, or with a certificate that nobody vouches for, gets
// neither message nor password.
func TestNoTLSNoMessage(t *testing.T) {
	config, pool := certificate(t)
	for name, c := range map[string]struct {
		server *tls.Config
		config Config
	}{
		"a foreign certificate": {config, Config{Username: "perfgate", Password: "secret"}},
		"a wrong password":      {config, Config{Username: "perfgate", Password: "wrong", Roots: pool}},
	} {
		r, addr := serve(t, c.server)
		c.config.Server, c.config.From, c.config.To = addr, "a@example.com", []string{"b@example.com"}
		if err := New(c.config).Send(t.Context(), "s", "t"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if r.mu.Lock(); len(r.messages) != 0 || r.user != "" {
			t.Errorf("%s: %+v", name, r)
		}
		r.mu.Unlock()
	}
	for host, local := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "mail.example.com": false, "10.0.0.1": false, "localhost.example.com": false} {
		if loopback(host) != local {
			t.Errorf("%s: loopback is %v", host, !local)
		}
	}
}
