package mesh

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Probe returns the node of the cluster that listens at addr. It needs no certificate
// of the cluster, only the CAs: a server shows its own certificate first. An error
// says that no such node was reached within five seconds or ctx.
func Probe(ctx context.Context, addr, clusterID string, cas [][]byte) (nodeID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+handshakeTimeout)
	defer cancel()
	m := &member{clusterID: clusterID, roots: x509.NewCertPool()}
	for _, der := range cas {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return "", fmt.Errorf("certificate authority of cluster %q: %w", clusterID, err)
		}
		m.roots.AddCert(ca)
	}
	raw, err := osNet{}.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w (%w)", addr, ErrUnreachable, err)
	}
	defer raw.Close()
	conf := base(protoCall, tls.Certificate{})
	conf.Certificates = nil // the server closes the connection for want of one, after it has shown its own
	conf.VerifyConnection = func(s tls.ConnectionState) (err error) {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the peer has no certificate")
		}
		nodeID, err = m.verify(s.PeerCertificates[0], x509.ExtKeyUsageServerAuth, time.Now())
		return err
	}
	if err := tls.Client(raw, conf).HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("connect to %s: %w", addr, err)
	}
	return nodeID, nil
}
