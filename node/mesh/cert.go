package mesh

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// Lifetimes of the certificates. A certificate begins an hour early because clocks
// differ.
const (
	caLife   = 20 * 365 * 24 * time.Hour
	nodeLife = 30 * 24 * time.Hour
	early    = time.Hour
)

// maxID bounds a node's and a cluster's id, in bytes.
const maxID = 64

// validID reports whether s can be the id of a node or a cluster: letters, digits,
// - and _, so that it is written alike in a certificate, a URI and a log.
func validID(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxID
}

// identity returns the URI that names a node in its certificate.
func identity(clusterID, nodeID string) *url.URL {
	return &url.URL{Scheme: "perfgate", Host: clusterID, Path: "/" + nodeID}
}

// NewCA creates the CA of a new cluster: ECDSA P-256, valid for 20 years
// from now. The key is PKCS #8.
func NewCA(clusterID string, now time.Time) (certDER, keyDER []byte, err error) {
	fail := func(err error) ([]byte, []byte, error) {
		return nil, nil, fmt.Errorf("create the cluster's CA: %w", err)
	}
	if !validID(clusterID) {
		return fail(fmt.Errorf("invalid cluster id %q", clusterID))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "perfgate cluster " + clusterID},
		NotBefore:             now.Add(-early),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	if certDER, err = x509.CreateCertificate(rand.Reader, t, t, key.Public(), key); err != nil {
		return fail(err)
	}
	if keyDER, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return fail(err)
	}
	return certDER, keyDER, nil
}

// NewNodeKey creates a node's private key: ECDSA P-256, PKCS #8. It never leaves
// the node, which sends the request of [NewRequest].
func NewNodeKey() (keyDER []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create node key: %w", err)
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// NewRequest creates the certificate request (PKCS #10) of the node with that key.
func NewRequest(keyDER []byte, nodeID string) (csrDER []byte, err error) {
	key, err := parseKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("request certificate: %w", err)
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: nodeID}}, key)
}

// SignNode signs a certificate for nodeID, valid for 30 days from now. The request
// must name that very id and be signed with the key that it contains; all else in
// it is ignored.
func SignNode(caDER, caKeyDER []byte, clusterID, nodeID string, csrDER []byte, now time.Time) (certDER []byte, err error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("sign certificate of node %q: %w", nodeID, err)
	}
	if !validID(clusterID) || !validID(nodeID) {
		return fail(fmt.Errorf("an id must be 1 to %d letters, digits, - and _", maxID))
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return fail(err)
	}
	caKey, err := parseKey(caKeyDER)
	if err != nil {
		return fail(err)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return fail(err)
	}
	switch key := csr.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return fail(errors.New("the key's curve is not P-256"))
		}
	default: // verifying with a key of any size could take any amount of time
		return fail(errors.New("the key is neither ECDSA P-256 nor Ed25519"))
	}
	if err := csr.CheckSignature(); err != nil {
		return fail(err)
	}
	if csr.Subject.CommonName != nodeID {
		return fail(fmt.Errorf("the request is for %q", csr.Subject.CommonName))
	}
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: nodeID},
		URIs:                  []*url.URL{identity(clusterID, nodeID)},
		NotBefore:             now.Add(-early),
		NotAfter:              now.Add(nodeLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if certDER, err = x509.CreateCertificate(rand.Reader, t, ca, csr.PublicKey, caKey); err != nil {
		return fail(err)
	}
	return certDER, nil
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f // 127 bits: a serial is positive and at most 20 bytes
	return new(big.Int).SetBytes(b[:])
}

func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key is not PKCS #8") // the parser's error may contain the key
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key cannot sign")
	}
	return signer, nil
}

// newJoinCert creates the server's certificate for the join protocol. It names no
// node and is not verified: TLS requires one, and the proof of the secret
// authenticates the connection.
func newJoinCert(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "perfgate join"},
		NotBefore:    now.Add(-early),
		NotAfter:     now.Add(caLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
