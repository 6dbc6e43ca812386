package serve

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/node/datadir"
)

const (
	certPoll    = time.Second
	maxCertFile = 1 << 20 // bytes, of each PEM file
)

// Certificates serves one listener's certificate and follows its files: changed
// files are used once they make a valid pair, and a bad pair leaves the old one in
// use. It is safe for concurrent use.
type Certificates struct {
	name    string // "proxy" or "admin", for the log
	logger  *slog.Logger
	now     func() time.Time
	current atomic.Pointer[certPair] // read by handshakes; written with mu held

	mu     sync.Mutex // held during one poll or swap; guards the fields below
	from   Source
	failed digest // of files that were refused and logged already
}

// Source tells where a certificate comes from. The files are PEM.
type Source struct {
	CertFile     string // the chain, leaf first
	KeyFile      string
	ClientCAFile string // "" asks clients for no certificate
	TLS12        bool   // accept TLS 1.2 too; the floor is 1.3 without it
	// SelfSigned, if not empty, are the names of a certificate that perfgate makes
	// in CertFile and KeyFile and renews by itself.
	SelfSigned []string
}

type digest [sha256.Size]byte

// certFiles is the content of the files.
type certFiles struct {
	cert, key, ca []byte
	digest        digest // of all three, and of the errors in reading them
}

// certPair is one validated state of the files. It is immutable.
type certPair struct {
	leaf    *x509.Certificate
	digest  digest
	config  *tls.Config
	problem string // the reason for which the leaf should not be used now; "" is none
}

// FileError is a fault of one of the files of a [Source].
type FileError struct {
	File string // "cert_file", "key_file" or "client_ca_file"
	Err  error  // does not name the path
}

func (e *FileError) Error() string { return e.File + ": " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// OpenCertificates reads the certificate of the listener name, "proxy" or
// "admin", and makes it first if it is a self-signed one. An error about a file is
// a [*FileError].
func OpenCertificates(name string, from Source, logger *slog.Logger) (*Certificates, error) {
	c := &Certificates{name: name, logger: logger, now: time.Now, from: from}
	pair, err := c.load(from)
	if err != nil {
		return nil, err
	}
	c.take(pair)
	return c, nil
}

// load reads and checks the files of from.
func (c *Certificates) load(from Source) (*certPair, error) {
	now := c.now()
	if len(from.SelfSigned) > 0 {
		if err := from.ensureSelfSigned(now); err != nil {
			return nil, err
		}
	}
	files, err := readCert(from)
	if err != nil {
		return nil, err
	}
	return parseCert(files, from.TLS12, now)
}

// readCert reads the files of from. The digest is right even if that fails.
func readCert(from Source) (f certFiles, err error) {
	h := sha256.New()
	for _, file := range []struct {
		name, path string
		to         *[]byte
	}{
		{"cert_file", from.CertFile, &f.cert},
		{"key_file", from.KeyFile, &f.key},
		{"client_ca_file", from.ClientCAFile, &f.ca},
	} {
		if file.path == "" {
			continue
		}
		raw, e := datadir.ReadFile(file.path, maxCertFile)
		if e != nil && err == nil {
			err = &FileError{file.name, datadir.Reason(e)}
		}
		if e != nil {
			raw = []byte(e.Error())
		}
		sum := sha256.Sum256(raw)
		h.Write(sum[:])
		*file.to = raw
	}
	h.Sum(f.digest[:0])
	return f, err
}

// parseCert checks that the files belong together.
func parseCert(f certFiles, tls12 bool, now time.Time) (*certPair, error) {
	cert, err := tls.X509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, &FileError{"cert_file", err}
	}
	out := &certPair{leaf: cert.Leaf, digest: f.digest, config: &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2", "http/1.1"},
	}}
	if tls12 {
		out.config.MinVersion = tls.VersionTLS12
	}
	if f.ca != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(f.ca) {
			return nil, &FileError{"client_ca_file", errors.New("there is no certificate in it")}
		}
		out.config.ClientCAs, out.config.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	switch {
	case now.After(cert.Leaf.NotAfter):
		out.problem = "it expired at " + rfc3339(cert.Leaf.NotAfter)
	case now.Before(cert.Leaf.NotBefore):
		out.problem = "it is valid from " + rfc3339(cert.Leaf.NotBefore)
	}
	return out, nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// take makes p the pair in use.
func (c *Certificates) take(p *certPair) {
	c.current.Store(p)
	c.failed = digest{}
	sum := sha256.Sum256(p.leaf.Raw)
	c.logger.Info(c.name+" certificate loaded", "subject", p.leaf.Subject.String(),
		"sha256", hex.EncodeToString(sum[:]), "ends", rfc3339(p.leaf.NotAfter))
	if p.problem != "" {
		c.logger.Warn(c.name+" certificate is not valid now", "reason", p.problem)
	}
}

// Config returns settings that answer every handshake with the newest pair.
func (c *Certificates) Config() *tls.Config {
	out := c.current.Load().config.Clone()
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return c.current.Load().config, nil
	}
	return out
}

// Problem is the reason for which the certificate in use should not be used now; ""
// is none.
func (c *Certificates) Problem() string { return c.current.Load().problem }

// Leaf is the certificate in use.
func (c *Certificates) Leaf() *x509.Certificate { return c.current.Load().leaf }

// Run follows the files until ctx ends. It compares contents each second rather
// than file times: a pair is two files, replaced one after the other, and a change
// that was missed would stay unseen until the next one.
func (c *Certificates) Run(ctx context.Context) {
	tick := time.NewTicker(certPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.poll()
		}
	}
}

// poll uses the files if they have changed and are good.
func (c *Certificates) poll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.current.Load()
	now := c.now()
	if len(c.from.SelfSigned) > 0 && renewalDue(old.leaf, now) {
		if err := c.from.ensureSelfSigned(now); err != nil {
			c.logger.Error("renew the self-signed "+c.name+" certificate", "error", err)
			return
		}
	}
	files, err := readCert(c.from)
	if files.digest == old.digest || files.digest == c.failed {
		return
	}
	var p *certPair
	if err == nil {
		p, err = parseCert(files, c.from.TLS12, now)
	}
	if err == nil && p.problem != "" && old.problem == "" {
		err = &FileError{"cert_file", errors.New(p.problem)}
	}
	if err != nil {
		c.failed = files.digest
		c.logger.Error(c.name+" certificate cannot be reloaded; the old one stays", "error", err)
		return
	}
	c.take(p)
}

// Prepare reads the certificate at from; one that is not valid now does not replace
// one that is. The swap, which cannot fail, puts it into
// use and follows its files from then on. The floor of the TLS version does not
// change while the listener runs.
func (c *Certificates) Prepare(from Source) (swap func(), err error) {
	c.mu.Lock()
	from.TLS12 = c.from.TLS12
	c.mu.Unlock()
	pair, err := c.load(from)
	if err == nil && pair.problem != "" && c.Problem() == "" {
		err = &FileError{"cert_file", errors.New(pair.problem)}
	}
	if err != nil {
		return nil, err
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.from = from
		if pair.digest != c.current.Load().digest {
			c.take(pair)
		}
	}, nil
}
