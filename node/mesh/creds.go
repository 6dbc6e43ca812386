package mesh

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Credentials make a node a member of the cluster: its key, its certificate and the
// CAs whose certificates it accepts. All parts are DER. A value must not be changed
// after it was passed to a mesh.
type Credentials struct {
	ClusterID string
	CAs       [][]byte // one, or two while the cluster changes its CA
	Cert      []byte
	Key       []byte // PKCS #8
}

// maxCAs bounds the CAs that are accepted at the same time.
const maxCAs = 2

// member is parsed and verified Credentials. It is immutable.
type member struct {
	clusterID, nodeID string
	roots             *x509.CertPool
	pair              tls.Certificate
}

// parse checks that the parts belong together: the certificate names a node of the
// cluster, is signed by one of the CAs, and contains the key. The times are not
// checked: a node whose certificate has expired starts, and requests a new one.
func (c *Credentials) parse() (*member, error) {
	fail := func(err error) (*member, error) { return nil, fmt.Errorf("cluster credentials: %w", err) }
	if len(c.CAs) == 0 || len(c.CAs) > maxCAs {
		return fail(fmt.Errorf("%d CA certificates; must be 1 to %d", len(c.CAs), maxCAs))
	}
	leaf, err := x509.ParseCertificate(c.Cert)
	if err != nil {
		return fail(err)
	}
	key, err := parseKey(c.Key)
	if err != nil {
		return fail(err)
	}
	if !samePublic(leaf, key.Public()) {
		return fail(errors.New("the private key does not match the certificate"))
	}
	m := &member{clusterID: c.ClusterID, roots: x509.NewCertPool()}
	for _, der := range c.CAs {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return fail(err)
		}
		if !ca.IsCA {
			return fail(errors.New("a CA certificate is not that of a CA"))
		}
		m.roots.AddCert(ca)
	}
	if m.nodeID, err = m.verify(leaf, x509.ExtKeyUsageAny, leaf.NotAfter); err != nil {
		return fail(err)
	}
	m.pair = tls.Certificate{Certificate: [][]byte{c.Cert}, PrivateKey: key, Leaf: leaf}
	return m, nil
}

func samePublic(leaf *x509.Certificate, key any) bool {
	switch p := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return p.Equal(key)
	case ed25519.PublicKey:
		return p.Equal(key)
	}
	return false
}

// verify returns the node of this cluster that leaf is the certificate of, at now
// and for that use. Further certificates of a peer are ignored: a cluster's CA signs
// nodes directly.
func (m *member) verify(leaf *x509.Certificate, use x509.ExtKeyUsage, now time.Time) (nodeID string, err error) {
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return "", errors.New("the certificate is not a node's")
	}
	if len(leaf.URIs) != 1 || !validID(leaf.Subject.CommonName) ||
		leaf.URIs[0].String() != identity(leaf.URIs[0].Host, leaf.Subject.CommonName).String() {
		return "", errors.New("the certificate does not name a node")
	}
	if leaf.URIs[0].Host != m.clusterID {
		return "", fmt.Errorf("the certificate belongs to cluster %q, ours is %q", leaf.URIs[0].Host, m.clusterID)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
		return "", fmt.Errorf("certificate of node %q: %w", leaf.Subject.CommonName, err)
	}
	return leaf.Subject.CommonName, nil
}

// NodeID returns the node that the credentials belong to.
func (c *Credentials) NodeID() (string, error) {
	m, err := c.parse()
	if err != nil {
		return "", err
	}
	return m.nodeID, nil
}

// Expiry returns the end of the certificate, or the zero time if there is no valid
// one.
func (c *Credentials) Expiry() time.Time {
	leaf, err := x509.ParseCertificate(c.Cert)
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}

// NeedsRenewal reports whether two thirds of the certificate's lifetime have passed, it
// has not begun yet (it was signed by a clock that was ahead), or there is no valid one.
func (c *Credentials) NeedsRenewal(now time.Time) bool {
	leaf, err := x509.ParseCertificate(c.Cert)
	if err != nil {
		return true
	}
	return now.Before(leaf.NotBefore) || now.After(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore)/3*2))
}

// The place of the credentials in the data directory. One file contains them all: a
// crash between two files would leave a key without its certificate.
const (
	credsDir  = "cluster"
	credsFile = "node.pem"

	maxCredsFile = 64 << 10
	keyBlock     = "PRIVATE KEY"
	certBlock    = "CERTIFICATE"
)

// Save writes the credentials below the data directory dir, with mode 0600. After a
// crash, the old or the new ones are there.
func (c *Credentials) Save(fs vfs.FS, dir string) error {
	if _, err := c.parse(); err != nil {
		return err
	}
	var b bytes.Buffer
	for _, p := range append([]*pem.Block{{Type: keyBlock, Bytes: c.Key}, {Type: certBlock, Bytes: c.Cert}}, cas(c.CAs)...) {
		if err := pem.Encode(&b, p); err != nil {
			return err
		}
	}
	sub := fs.PathJoin(dir, credsDir)
	if err := replace(fs, dir, sub, b.Bytes()); err != nil {
		return fmt.Errorf("write cluster credentials below %q: %w", dir, err)
	}
	return nil
}

func cas(ders [][]byte) (blocks []*pem.Block) {
	for _, der := range ders {
		blocks = append(blocks, &pem.Block{Type: certBlock, Bytes: der})
	}
	return blocks
}

// replace writes the credentials' file in sub, a directory of dir.
func replace(fs vfs.FS, dir, sub string, data []byte) error {
	if err := fs.MkdirAll(sub, 0o700); err != nil {
		return err
	}
	if err := syncDir(fs, dir); err != nil {
		return err
	}
	tmp := fs.PathJoin(sub, credsFile+".tmp")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if fd := f.Fd(); fd != vfs.InvalidFd { // before the key is written, whatever the umask is
		err = syscall.Fchmod(int(fd), 0o600)
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(tmp, fs.PathJoin(sub, credsFile)); err != nil {
		return err
	}
	return syncDir(fs, sub)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LoadCredentials reads the credentials that [Credentials.Save] wrote; the error is
// os.ErrNotExist if there are none.
func LoadCredentials(fs vfs.FS, dir string) (*Credentials, error) {
	name := fs.PathJoin(dir, credsDir, credsFile)
	f, err := fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read cluster credentials: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxCredsFile))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read cluster credentials: %w; remove the file and let the node join again, or restore the file", err)
	}
	c, err := decodeCredentials(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove the file and let the node join again, or restore the file", name, err)
	}
	return c, nil
}

// RemoveCredentials removes the saved credentials, if any. The node is then a member
// of no cluster.
func RemoveCredentials(fs vfs.FS, dir string) error {
	sub := fs.PathJoin(dir, credsDir)
	err := fs.Remove(fs.PathJoin(sub, credsFile))
	if err == nil {
		err = syncDir(fs, sub)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove cluster credentials: %w", err)
	}
	return nil
}

// decodeCredentials reads a key, its certificate and the CAs', in this order.
func decodeCredentials(raw []byte) (*Credentials, error) {
	c := &Credentials{}
	for {
		var p *pem.Block
		if p, raw = pem.Decode(raw); p == nil {
			break
		}
		switch {
		case p.Type == keyBlock && c.Key == nil:
			c.Key = p.Bytes
		case p.Type == certBlock && c.Cert == nil:
			c.Cert = p.Bytes
		case p.Type == certBlock:
			c.CAs = append(c.CAs, p.Bytes)
		default:
			return nil, fmt.Errorf("unexpected block %q", p.Type)
		}
	}
	leaf, err := x509.ParseCertificate(c.Cert)
	if err != nil {
		return nil, err
	}
	if len(leaf.URIs) == 1 {
		c.ClusterID = leaf.URIs[0].Host
	}
	if _, err := c.parse(); err != nil {
		return nil, err
	}
	c.CAs = slices.Clip(c.CAs)
	return c, nil
}
