package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/url"
	"testing"
	"time"
)

// forge makes a certificate from a sound template that change spoils; a nil
// authority signs it with its own key.
func forge(t testing.TB, a *authority, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "b"},
		URIs:      []*url.URL{identity("c1", "b")},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(c)
	}
	parent, signer := c, any(key)
	if a != nil {
		if parent, err = x509.ParseCertificate(a.cert); err != nil {
			t.Fatal(err)
		}
		if signer, err = parseKey(a.key); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// forgeries are certificates that no node of cluster c1 may accept, on either side.
func forgeries(t testing.TB, ca *authority) map[string]tls.Certificate {
	other := newAuthority(t, "c1")
	return map[string]tls.Certificate{
		"self-signed":         forge(t, nil, nil),
		"another CA":          forge(t, other, nil),
		"another cluster":     forge(t, ca, func(c *x509.Certificate) { c.URIs[0].Host = "c2" }),
		"expired":             forge(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"not yet valid":       forge(t, ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
		"no uri":              forge(t, ca, func(c *x509.Certificate) { c.URIs = nil }),
		"two uris":            forge(t, ca, func(c *x509.Certificate) { c.URIs = append(c.URIs, identity("c1", "a")) }),
		"uri of another node": forge(t, ca, func(c *x509.Certificate) { c.URIs[0] = identity("c1", "a") }),
		"another scheme":      forge(t, ca, func(c *x509.Certificate) { c.URIs[0].Scheme = "https" }),
		"no name":             forge(t, ca, func(c *x509.Certificate) { c.Subject.CommonName = "" }),
		"strange name": forge(t, ca, func(c *x509.Certificate) {
			c.Subject.CommonName = "b/c"
			c.URIs[0] = identity("c1", "b/c")
		}),
		"no signing":   forge(t, ca, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }),
		"other use":    forge(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }),
		"is a CA":      forge(t, ca, func(c *x509.Certificate) { c.IsCA = true }),
		"the CA's own": {Certificate: [][]byte{ca.cert}, PrivateKey: must(parseKey(ca.key))},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// offer connects as a client that shows pair, and returns the server's first byte
// within patience.
func offer(t testing.TB, m *Mesh, conf *tls.Config) (byte, error) {
	t.Helper()
	raw, err := net.Dial("tcp", m.Advertise())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	conf.InsecureSkipVerify = true
	c := tls.Client(raw, conf)
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	// A refused peer may send anything.
	c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	var b [1]byte
	_, err = io.ReadFull(c, b[:])
	return b[0], err
}

func TestServerRefuses(t *testing.T) {
	ca := newAuthority(t, "c1")
	m := start(t, ca, "a", echoes)
	taken := make(chan net.Conn, 1)
	go func() {
		l := m.RaftLayer(nil)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	for name, pair := range forgeries(t, ca) {
		for _, proto := range []string{protoRaft, protoCall, protoGossip} {
			if b, err := offer(t, m, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{proto}}); err == nil {
				t.Errorf("%s, %s: the server says %d", name, proto, b)
			}
		}
	}
	good := forge(t, ca, nil)
	for name, c := range map[string]*tls.Config{
		"no certificate":        {NextProtos: []string{protoRaft}},
		"no protocol":           {Certificates: []tls.Certificate{good}},
		"two protocols":         {Certificates: []tls.Certificate{good}, NextProtos: []string{protoRaft, protoJoin}},
		"two, join first":       {Certificates: []tls.Certificate{good}, NextProtos: []string{protoJoin, protoRaft}},
		"an unknown protocol":   {Certificates: []tls.Certificate{good}, NextProtos: []string{"h2"}},
		"TLS 1.2":               {Certificates: []tls.Certificate{good}, NextProtos: []string{protoRaft}, MaxVersion: tls.VersionTLS12},
		"a certificate to join": {Certificates: []tls.Certificate{forge(t, nil, nil)}, NextProtos: []string{protoCall}},
	} {
		if b, err := offer(t, m, c); err == nil {
			t.Errorf("%s: the server says %d", name, b)
		}
	}
	select {
	case <-taken:
		t.Error("raft was handed a connection")
	default:
	}
	if b, err := offer(t, m, &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{protoRaft}}); err != nil || b != welcome {
		t.Fatalf("a sound certificate: %d, %v", b, err)
	}
	(<-taken).Close()
}

// rogue is a server with that configuration; it says welcome to everybody.
func rogue(t testing.TB, conf *tls.Config) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte{welcome})
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestClientRefuses(t *testing.T) {
	ca := newAuthority(t, "c1")
	m := start(t, ca, "a")
	for name, pair := range forgeries(t, ca) {
		addr := rogue(t, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{protoCall}, ClientAuth: tls.RequestClientCert})
		if c, err := m.dial(within(t, patience), addr, protoCall, ""); err == nil {
			c.Close()
			t.Errorf("%s: the client is content", name)
		} else if errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := forge(t, ca, nil)
	for name, conf := range map[string]*tls.Config{
		"no protocol":      {Certificates: []tls.Certificate{good}},
		"another protocol": {Certificates: []tls.Certificate{good}, NextProtos: []string{protoRaft}},
		"TLS 1.2":          {Certificates: []tls.Certificate{good}, NextProtos: []string{protoCall}, MaxVersion: tls.VersionTLS12},
	} {
		if c, err := m.dial(within(t, patience), rogue(t, conf), protoCall, ""); err == nil {
			c.Close()
			t.Errorf("%s: the client is content", name)
		}
	}
	c, err := m.dial(within(t, patience), rogue(t, &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{protoCall}}), protoCall, "b")
	if err != nil {
		t.Fatalf("a sound certificate: %v", err)
	}
	c.Close()
}

// A node without a certificate neither takes nor makes connections of the
// certificate protocols.
func TestWithoutCredentials(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := start(t, ca, "a", echoes), start(t, nil, "b", echoes)
	var not *NotSent
	if _, err := a.Call(within(t, patience), b.Advertise(), "", "/", nil); !errors.As(err, &not) {
		t.Errorf("to it: %v", err)
	}
	if _, err := b.Call(within(t, patience), a.Advertise(), "", "/", nil); !errors.Is(err, ErrNoCredentials) || !errors.As(err, &not) {
		t.Errorf("from it: %v", err)
	}
	if err := b.SetCredentials(ca.node(t, "x", time.Now())); err == nil {
		t.Error("it takes another node's credentials")
	}
	if err := b.SetCredentials(ca.node(t, "b", time.Now())); err != nil {
		t.Fatal(err)
	}
	if out, err := b.Call(within(t, patience), a.Advertise(), "a", "/", nil); err != nil || string(out) != "b " {
		t.Errorf("once it has some: %q, %v", out, err)
	}
}

// The cluster changes its CA while its nodes run.
func TestChangeOfCA(t *testing.T) {
	one, two := newAuthority(t, "c1"), newAuthority(t, "c1")
	a, b := start(t, one, "a", echoes), start(t, one, "b", echoes)
	call := func(from, to *Mesh) error {
		c, err := from.dial(within(t, patience), to.Advertise(), protoCall, to.conf.NodeID)
		if err == nil {
			c.Close()
		}
		return err
	}
	set := func(m *Mesh, by *authority, accept ...*authority) {
		t.Helper()
		c := by.node(t, m.conf.NodeID, time.Now())
		c.CAs = nil
		for _, a := range accept {
			c.CAs = append(c.CAs, a.cert)
		}
		if err := m.SetCredentials(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []func(){
		func() {},
		func() { set(a, one, one, two) },
		func() { set(b, one, one, two) },
		func() { set(a, two, one, two) },
		func() { set(b, two, one, two) },
		func() { set(a, two, two) },
		func() { set(b, two, two) },
	} {
		step()
		if err := errors.Join(call(a, b), call(b, a)); err != nil {
			t.Fatal(err)
		}
	}
	late := start(t, one, "late")
	if call(late, a) == nil || call(a, late) == nil {
		t.Error("the old CA is still accepted")
	}
}
