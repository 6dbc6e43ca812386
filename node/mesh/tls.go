package mesh

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// The protocols of the port, told by ALPN.
const (
	protoRaft   = "perfgate-raft/1"
	protoCall   = "perfgate-call/1"
	protoGossip = "perfgate-gossip/1"
	protoDirect = "perfgate-direct/1"
	protoJoin   = "perfgate-join/1"
)

// The server's one byte after the handshake of a certificate protocol.
const (
	welcome = 1
	removed = 2 // the client's node was removed from the cluster; the connection is closed
)

// base is what all handshakes share. Names are node ids, not host names, so
// crypto/tls cannot check them: VerifyConnection does, and it always runs.
// Tickets are off because a resumed session would carry an old verdict.
func base(proto string, pair tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{proto},
		Certificates:           []tls.Certificate{pair},
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
	}
}

// mutual is the configuration of both sides of a certificate protocol; use is
// what the peer's certificate is for.
func (m *member) mutual(proto string, use x509.ExtKeyUsage) *tls.Config {
	c := base(proto, m.pair)
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the peer has no certificate")
		}
		_, err := m.verify(s.PeerCertificates[0], use, time.Now())
		return err
	}
	return c
}

// serverConfig answers one ClientHello. A client names exactly one protocol, so
// that what it has to show is decided before anything of it is read.
func (m *Mesh) serverConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) == 0 {
		return nil, errors.New("the client names no protocol")
	}
	proto := hello.SupportedProtos[0]
	if len(hello.SupportedProtos) == 1 && slices.Contains([]string{protoRaft, protoCall, protoGossip, protoDirect}, proto) {
		p := m.member.Load()
		if p == nil {
			return nil, ErrNoCredentials
		}
		return p.mutual(proto, x509.ExtKeyUsageClientAuth), nil
	}
	if len(hello.SupportedProtos) > 1 {
		proto = ""
	}
	if proto != protoJoin {
		return nil, fmt.Errorf("the client names the protocols %q", hello.SupportedProtos)
	}
	// No certificate is asked of a client here: none would be looked at, and this
	// way none is parsed.
	return base(protoJoin, m.nameless), nil
}

// greet finds out who came and hands the connection on.
func (m *Mesh) greet(c *conn) {
	proto, peer, err := m.handshake(c)
	if err != nil {
		m.log.Debug("cluster connection refused", "remote", c.RemoteAddr(), "node", peer, "err", err)
		c.kill()
		c.Close()
		return
	}
	switch proto {
	case protoJoin:
		m.serveJoin(c)
	case protoRaft:
		m.raft.put(c)
	case protoGossip:
		m.gossip.streams.put(c)
	case protoCall:
		m.calls.streams.put(c)
	case protoDirect:
		m.direct.put(c)
	}
}

// handshake authenticates a client; for join, TLS alone, the proof comes next.
func (m *Mesh) handshake(c *conn) (proto, peer string, err error) {
	ctx, cancel := context.WithTimeout(m.ctx, greetTimeout)
	defer cancel()
	c.raw.SetDeadline(time.Now().Add(greetTimeout))
	// A hello for which there is no configuration is refused there; what stands
	// here is only crypto/tls's own minimum.
	t := tls.Server(c.raw, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: m.serverConfig})
	if err := t.HandshakeContext(ctx); err != nil {
		return "", "", err
	}
	c.Conn = t
	s := t.ConnectionState()
	if s.NegotiatedProtocol == protoJoin {
		return protoJoin, "", nil
	}
	peer = s.PeerCertificates[0].Subject.CommonName // verified
	if err := m.known(c, peer); err != nil {
		t.Write([]byte{removed}) // it arrives: the client sends nothing that a close would answer with a reset
		return "", peer, err
	}
	if _, err := t.Write([]byte{welcome}); err != nil {
		return "", peer, err
	}
	c.raw.SetDeadline(time.Time{})
	return s.NegotiatedProtocol, peer, nil
}

// dial connects to the node at addr for one of the certificate protocols. When
// it returns nil both sides have accepted each other. want is the node that has
// to be there, "" for any of the cluster.
func (m *Mesh) dial(ctx context.Context, addr, proto, want string) (*conn, error) {
	fail := func(err error) (*conn, error) {
		if m.ctx.Err() != nil {
			err = ErrClosed
		}
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	p := m.member.Load()
	if p == nil {
		return fail(ErrNoCredentials)
	}
	c, err := m.connect(ctx, addr)
	if err != nil {
		return fail(err)
	}
	peer, err := m.introduce(ctx, c, p.mutual(proto, x509.ExtKeyUsageServerAuth))
	if err == nil && want != "" && peer != want {
		err = fmt.Errorf("%w: node %s, not %s", ErrOtherNode, peer, want)
	}
	if err == nil {
		err = m.known(c, peer)
	}
	if err != nil {
		c.kill()
		c.Close()
		return fail(err)
	}
	c.raw.SetDeadline(time.Time{})
	return c, nil
}

// connect makes the TCP connection; its deadline is the handshake's.
func (m *Mesh) connect(ctx context.Context, addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	raw, err := m.conf.Net.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrUnreachable, err)
	}
	c := m.track(raw, false)
	if c == nil {
		return nil, ErrClosed
	}
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	return c, nil
}

// introduce is the client's side of handshake.
func (m *Mesh) introduce(ctx context.Context, c *conn, conf *tls.Config) (peer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.raw.SetDeadline(time.Unix(1, 0)) })()
	t := tls.Client(c.raw, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return "", sortDial(err)
	}
	c.Conn = t
	s := t.ConnectionState()
	if s.NegotiatedProtocol != conf.NextProtos[0] {
		return "", ErrNotCluster
	}
	var verdict [1]byte
	if _, err := io.ReadFull(t, verdict[:]); err != nil {
		if !network(err) {
			err = fmt.Errorf("the peer refused this node's certificate: %w", err)
		}
		return "", sortDial(err)
	}
	switch verdict[0] {
	case welcome:
		return s.PeerCertificates[0].Subject.CommonName, nil
	case removed:
		return "", ErrRemoved
	}
	return "", ErrNotCluster
}
