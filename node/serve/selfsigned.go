package serve

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/node/datadir"
)

// The life of a self-signed certificate. Clients that verify it take the
// certificate itself as their authority.
const (
	selfSignedLife  = 365 * 24 * time.Hour
	selfSignedRenew = 30 * 24 * time.Hour // before its end
)

// ensureSelfSigned makes the certificate if there is none that is valid, covers
// all names and is far from its end.
func (s Source) ensureSelfSigned(now time.Time) error {
	f, err := readCert(Source{CertFile: s.CertFile, KeyFile: s.KeyFile})
	if err == nil {
		p, err := parseCert(f, false, now)
		if err == nil && p.problem == "" && !renewalDue(p.leaf, now) && covers(p.leaf, s.SelfSigned) {
			return nil
		}
	}
	return makeSelfSigned(s.CertFile, s.KeyFile, s.SelfSigned, now)
}

// renewalDue reports whether the certificate ends soon, or has not begun: then it was
// made by a clock that was ahead.
func renewalDue(leaf *x509.Certificate, now time.Time) bool {
	return now.Before(leaf.NotBefore) || now.After(leaf.NotAfter.Add(-selfSignedRenew))
}

// SelfSignedNames lists the names and addresses by which clients may reach the
// listener listen (HOST:PORT) of the node.
func SelfSignedNames(node, listen string) []string {
	names := []string{"localhost", "127.0.0.1", "::1", strings.ToLower(node)}
	if host, err := os.Hostname(); err == nil {
		names = append(names, strings.ToLower(host))
	}
	host, _, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		names = append(names, strings.ToLower(host))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func covers(leaf *x509.Certificate, names []string) bool {
	for _, n := range names {
		ip := net.ParseIP(n)
		if ip == nil && !slices.Contains(leaf.DNSNames, n) {
			return false
		}
		if ip != nil && !slices.ContainsFunc(leaf.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

// makeSelfSigned writes a new key and certificate. The certificate comes last:
// a crash in between leaves a pair that does not match, and the next start makes
// both again.
func makeSelfSigned(certFile, keyFile string, names []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "perfgate self-signed"},
		NotBefore:             now.Add(-time.Hour), // clients' clocks differ
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // so that it can be given to a client as its own authority
		MaxPathLenZero:        true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	if err := writePEM(keyFile, "PRIVATE KEY", keyDER); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", cert)
}

func writePEM(path, kind string, der []byte) error {
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return err
	}
	return datadir.WriteFile(path, b.Bytes())
}
