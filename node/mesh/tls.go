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

// The protocols of the port, selected by ALPN.
const (
	protoRaft   = "perfgate-raft/1"
	protoCall   = "perfgate-call/1"
	protoGossip = "perfgate-gossip/1"
	protoDirect = "perfgate-direct/1"
	protoJoin   = "perfgate-join/1"
)

// The byte that a server sends after the handshake of a certificate protocol.
const (
	welcome = 1
	removed = 2 // the client's node was removed from the cluster; the connection is closed
)

// base returns the configuration that all handshakes share. Certificates contain node
// ids, not host names, so that crypto/tls cannot verify them: VerifyConnection does,
// and it always runs. Tickets are off because a resumed session would keep an old
// decision.
func base(proto string, pair tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{proto},
		Certificates:           []tls.Certificate{pair},
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
	}
}

// mutual returns the configuration of either side of a certificate protocol; use is
// the required use of the peer's certificate.
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

// serverConfig returns the configuration for one ClientHello. A client must name
// exactly one protocol, which decides how it must authenticate before anything else
// of it is read.
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
	// The client is not asked for a certificate: it would not be verified, and need
	// not be parsed.
	return base(protoJoin, m.joinCert), nil
}

// serveConn authenticates a connection and passes it to its protocol.
func (m *Mesh) serveConn(c *conn) {
	proto, peer, err := m.serverHandshake(c)
	if err != nil {
		m.log.Debug("cluster connection refused", "addr", c.RemoteAddr(), "node", peer, "error", err)
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

// serverHandshake authenticates a client. For join it is only TLS; the proof follows.
func (m *Mesh) serverHandshake(c *conn) (proto, peer string, err error) {
	ctx, cancel := context.WithTimeout(m.ctx, acceptTimeout)
	defer cancel()
	c.raw.SetDeadline(time.Now().Add(acceptTimeout))
	// serverConfig refuses a hello that it has no configuration for; this one is only
	// crypto/tls's minimum.
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
	if err := m.identify(c, peer); err != nil {
		_, _ = t.Write([]byte{removed}) // it arrives: the client sends nothing, so that the close causes no reset
		return "", peer, err
	}
	if _, err := t.Write([]byte{welcome}); err != nil {
		return "", peer, err
	}
	c.raw.SetDeadline(time.Time{})
	return s.NegotiatedProtocol, peer, nil
}

// dial connects to the node at addr with one of the certificate protocols. If it
// succeeds, both sides have accepted each other. nodeID is the node that must
// answer, "" for any node of the cluster.
func (m *Mesh) dial(ctx context.Context, addr, proto, nodeID string) (*conn, error) {
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
	peer, err := m.clientHandshake(ctx, c, p.mutual(proto, x509.ExtKeyUsageServerAuth))
	if err == nil && nodeID != "" && peer != nodeID {
		err = fmt.Errorf("%w: node %s, not %s", ErrOtherNode, peer, nodeID)
	}
	if err == nil {
		err = m.identify(c, peer)
	}
	if err != nil {
		c.kill()
		c.Close()
		return fail(err)
	}
	c.raw.SetDeadline(time.Time{})
	return c, nil
}

// connect opens the TCP connection, with the deadline of the handshake.
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

// clientHandshake is the client's side of serverHandshake.
func (m *Mesh) clientHandshake(ctx context.Context, c *conn, conf *tls.Config) (peer string, err error) {
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
	var first [1]byte
	if _, err := io.ReadFull(t, first[:]); err != nil {
		if !network(err) {
			err = fmt.Errorf("the peer refused this node's certificate: %w", err)
		}
		return "", sortDial(err)
	}
	switch first[0] {
	case welcome:
		return s.PeerCertificates[0].Subject.CommonName, nil
	case removed:
		return "", ErrRemoved
	}
	return "", ErrNotCluster
}
