package node

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
)

const (
	certPoll    = time.Second
	maxCertFile = 1 << 20 // bytes, of each PEM file
)

// Certificates serves one listener's certificate and follows its files: a
// change is taken over once the new files make a valid pair, and a bad pair
// leaves the old one in place. It is safe for concurrent use.
type Certificates struct {
	name    string // "proxy" or "admin", for the log
	logger  *slog.Logger
	now     func() time.Time
	current atomic.Pointer[certPair]

	mu     sync.Mutex // one poll or reload at a time
	from   certSource
	failed digest // of files that were refused and told already
}

// certSource says where a certificate comes from. With made set, the files are
// a self-signed pair that perfgate renews by itself.
type certSource struct {
	files TLSConfig
	made  func(now time.Time) error
}

type digest [sha256.Size]byte

// certFiles is what the files hold.
type certFiles struct {
	cert, key, ca []byte
	digest        digest // of all three, and of the errors in reading them
}

// certPair is one validated state of the files. It is immutable.
type certPair struct {
	leaf    *x509.Certificate
	digest  digest
	config  *tls.Config
	problem string // why the leaf should not be used now; "" if nothing
}

// certError is what is wrong with one of the files.
type certError struct {
	key string // in the listener's tls table
	err error
}

func (e *certError) Error() string { return e.key + ": " + reason(e.err) }
func (e *certError) Unwrap() error { return e.err }

// OpenCertificates reads the certificate of the listener name, "proxy" or
// "admin". An admin listener off loopback that has none gets a self-signed one,
// kept in the data directory, unless plaintext is allowed there. The result is
// nil for a plaintext listener. An error about the files is a [*UsageError].
func OpenCertificates(c *Config, name string, logger *slog.Logger) (*Certificates, error) {
	certs := &Certificates{name: name, logger: logger, now: time.Now}
	from, ok := certs.source(c)
	if !ok {
		return nil, nil
	}
	pair, err := certs.load(c, from)
	if err != nil {
		return nil, err
	}
	certs.from = from
	certs.take(pair)
	return certs, nil
}

// source finds where c has this listener's certificate come from; ok is false
// for a plaintext listener.
func (c *Certificates) source(cfg *Config) (from certSource, ok bool) {
	switch {
	case c.name == "proxy":
		return certSource{files: cfg.Proxy.TLS}, cfg.Proxy.TLS.CertFile != ""
	case cfg.Admin.TLS.CertFile != "":
		return certSource{files: cfg.Admin.TLS}, true
	case cfg.Admin.Insecure || cfg.Admin.Loopback():
		return certSource{}, false
	}
	return selfSigned(cfg), true
}

// load reads and checks the files at from. Errors are a [*UsageError] about c.
func (c *Certificates) load(cfg *Config, from certSource) (*certPair, error) {
	if from.made != nil {
		if err := from.made(c.now()); err != nil {
			return nil, err
		}
	}
	files, err := readCert(from.files)
	var pair *certPair
	if err == nil {
		pair, err = parseCert(files, from.files.MinVersion, c.now())
	}
	var ce *certError
	if errors.As(err, &ce) {
		err = cfg.fault(c.name+".tls."+ce.key, reason(ce.err))
	}
	return pair, err
}

// readCert reads the files of t. The digest is right even if that fails.
func readCert(t TLSConfig) (f certFiles, err error) {
	h := sha256.New()
	for _, file := range []struct {
		key, path string
		to        *[]byte
	}{
		{"cert_file", t.CertFile, &f.cert},
		{"key_file", t.KeyFile, &f.key},
		{"client_ca_file", t.ClientCAFile, &f.ca},
	} {
		if file.path == "" {
			continue
		}
		raw, e := readSmall(file.path, maxCertFile)
		if e != nil && err == nil {
			err = &certError{file.key, e}
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

// parseCert checks that the files belong together. TLS 1.3 is the floor unless
// minVersion says otherwise.
func parseCert(f certFiles, minVersion string, now time.Time) (*certPair, error) {
	cert, err := tls.X509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, &certError{"cert_file", err}
	}
	out := &certPair{leaf: cert.Leaf, digest: f.digest, config: &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2", "http/1.1"},
	}}
	if minVersion == "1.2" {
		out.config.MinVersion = tls.VersionTLS12
	}
	if f.ca != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(f.ca) {
			return nil, &certError{"client_ca_file", errors.New("there is no certificate in it")}
		}
		out.config.ClientCAs, out.config.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	switch {
	case now.After(cert.Leaf.NotAfter):
		out.problem = "it ended at " + rfc3339(cert.Leaf.NotAfter)
	case now.Before(cert.Leaf.NotBefore):
		out.problem = "it begins at " + rfc3339(cert.Leaf.NotBefore)
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
		c.logger.Warn(c.name+" certificate is not valid now", "problem", p.problem)
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

// Leaf is the certificate in use.
func (c *Certificates) Leaf() *x509.Certificate { return c.current.Load().leaf }

// Run follows the files until ctx ends. It compares contents each second rather
// than file times: a pair is two files, replaced one after the other, and a
// change that was missed would not be seen before the next.
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

// poll takes the files over if they have changed and are good.
func (c *Certificates) poll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.current.Load()
	now := c.now()
	if c.from.made != nil && renewalDue(old.leaf, now) {
		if err := c.from.made(now); err != nil {
			c.logger.Error("renew the self-signed "+c.name+" certificate", "error", err)
			return
		}
	}
	files, err := readCert(c.from.files)
	if files.digest == old.digest || files.digest == c.failed {
		return
	}
	var p *certPair
	if err == nil {
		p, err = parseCert(files, c.from.files.MinVersion, now)
	}
	if err == nil && p.problem != "" && old.problem == "" {
		err = &certError{"cert_file", errors.New(p.problem)}
	}
	if err != nil {
		c.failed = files.digest
		c.logger.Error(c.name+" certificate cannot be reloaded; the old one stays", "error", err)
		return
	}
	c.take(p)
}

// Prepare reads the certificate that cfg names. The swap, which cannot fail,
// puts it into use and follows its files from then on.
func (c *Certificates) Prepare(cfg *Config) (swap func(), err error) {
	from, ok := c.source(cfg)
	if !ok {
		return func() {}, nil // TLS does not end on a listener that runs: [Reloader] says so
	}
	c.mu.Lock()
	from.files.MinVersion = c.from.files.MinVersion // nor does its floor move
	c.mu.Unlock()
	pair, err := c.load(cfg, from)
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
