package node

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
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The self-signed certificate of the admin listener, in the data directory. Who
// wants to check it gives the first file to the client as its authority.
const (
	adminCertFile = "admin.crt"
	adminKeyFile  = "admin.key"

	selfSignedLife  = 365 * 24 * time.Hour
	selfSignedRenew = 30 * 24 * time.Hour // before its end
)

// Loopback tells whether the listener can be reached from this machine alone.
func (a AdminConfig) Loopback() bool {
	host, _, err := net.SplitHostPort(a.Listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// selfSigned is the source of the certificate that perfgate makes for itself.
func selfSigned(c *Config) certSource {
	dir := c.Node.DataDir
	files := c.Admin.TLS
	files.CertFile, files.KeyFile = filepath.Join(dir, adminCertFile), filepath.Join(dir, adminKeyFile)
	names := selfSignedNames(c)
	return certSource{files: files, made: func(now time.Time) error {
		f, err := readCert(TLSConfig{CertFile: files.CertFile, KeyFile: files.KeyFile})
		if err == nil {
			p, err := parseCert(f, "", now)
			if err == nil && p.problem == "" && !renewalDue(p.leaf, now) && covers(p.leaf, names) {
				return nil
			}
		}
		return makeSelfSigned(files.CertFile, files.KeyFile, names, now)
	}}
}

func renewalDue(leaf *x509.Certificate, now time.Time) bool {
	return now.After(leaf.NotAfter.Add(-selfSignedRenew))
}

// selfSignedNames are the names and addresses by which clients may come.
func selfSignedNames(c *Config) []string {
	names := []string{"localhost", "127.0.0.1", "::1", strings.ToLower(c.Node.Name)}
	if host, err := os.Hostname(); err == nil {
		names = append(names, strings.ToLower(host))
	}
	host, _, _ := net.SplitHostPort(c.Admin.Listen)
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
	return WriteFile(path, b.Bytes())
}

// WriteFile puts a whole file in place of another, mode 0600: readers see the
// old one or the new one, also after a crash.
func WriteFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %q: %w", path, err)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
