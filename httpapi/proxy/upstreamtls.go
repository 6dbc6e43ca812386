package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// UpstreamTLS is how a route meets its https upstreams. The files are PEM, and are read
// by [Compile].
type UpstreamTLS struct {
	CAFile     string // authorities that may sign the upstreams' certificates, in the place of the system's
	CertFile   string // certificate to show to upstreams, the chain with the leaf first
	KeyFile    string // its private key
	ServerName string // name that the upstreams' certificates must have; "" is the host of the URL
}

const (
	maxPEM          = 1 << 20             // bytes of a file
	certificateSoon = 14 * 24 * time.Hour // before the end of a certificate, from which it is warned about
)

// Config makes the TLS of connections to upstreams; nil if u sets nothing. The errors
// are [*FieldError]s, with keys such as "ca_file".
func (u *UpstreamTLS) Config() (*tls.Config, []error) {
	if *u == (UpstreamTLS{}) {
		return nil, nil
	}
	var errs []error
	fail := func(key, value string, err error) { errs = append(errs, &FieldError{key, value, err.Error()}) }
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.ServerName}
	if u.ServerName != "" && !validName(u.ServerName) {
		fail("server_name", u.ServerName, errors.New("must be a host name without port, or an IP address"))
	}
	if u.CAFile != "" {
		authorities, err := readAuthorities(u.CAFile)
		if err != nil {
			fail("ca_file", u.CAFile, err)
		}
		out.RootCAs = x509.NewCertPool()
		for _, a := range authorities {
			out.RootCAs.AddCert(a)
		}
	}
	switch {
	case u.CertFile == "" && u.KeyFile == "":
	case u.KeyFile == "":
		fail("cert_file", u.CertFile, errors.New("key_file must be set too"))
	case u.CertFile == "":
		fail("key_file", u.KeyFile, errors.New("cert_file must be set too"))
	default:
		cert, key, err := u.readPair()
		if err != nil {
			fail(key, map[string]string{"cert_file": u.CertFile, "key_file": u.KeyFile}[key], err)
			break
		}
		// It is sent whatever authorities the upstream asks for: the alert of one that
		// does not know this certificate's says more than that of one that got none.
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return out, errs
}

// readPair reads the certificate with its key; where that fails, key is the one at fault.
func (u *UpstreamTLS) readPair() (cert *tls.Certificate, key string, err error) {
	certs, err := readPEM(u.CertFile)
	if err != nil {
		return nil, "cert_file", err
	}
	secret, err := readPEM(u.KeyFile)
	if err != nil {
		return nil, "key_file", err
	}
	pair, err := tls.X509KeyPair(certs, secret)
	if err != nil {
		return nil, "cert_file", err
	}
	return &pair, "", nil
}

// readAuthorities reads every certificate of a file.
func readAuthorities(path string) (out []*x509.Certificate, _ error) {
	raw, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of it cannot be read: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return out, nil
}

// readPEM reads a file of at most maxPEM bytes. Its error does not name the path.
func readPEM(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err == nil {
		defer f.Close()
		var raw []byte
		if raw, err = io.ReadAll(io.LimitReader(f, maxPEM+1)); err == nil && len(raw) > maxPEM {
			err = fmt.Errorf("it is larger than %d bytes", maxPEM)
		}
		if err == nil {
			return raw, nil
		}
	}
	if of := new(os.PathError); errors.As(err, &of) {
		return nil, of.Err
	}
	return nil, err
}

// upstreamTLS sets the TLS of r's upstreams.
func (c *compiler) upstreamTLS(r *route, in *UpstreamTLS) {
	const table = "upstream_tls"
	config, errs := in.Config()
	for _, err := range errs {
		var f *FieldError
		if errors.As(err, &f) {
			c.fail(table+"."+f.Key, f.Value, "%s", f.Reason)
		}
	}
	if config == nil {
		return
	}
	r.tls = config
	if !slices.ContainsFunc(r.upstreams, func(u *url.URL) bool { return u.Scheme == "https" }) {
		c.fail(table, "", "has no effect: no upstream of this route begins with https://")
	}
	if len(errs) > 0 {
		return
	}
	now := time.Now()
	if in.CAFile != "" {
		authorities, _ := readAuthorities(in.CAFile)
		for _, a := range authorities {
			c.date(table+".ca_file", in.CAFile, "the certificate of the authority "+a.Subject.String(), a, now)
		}
	}
	if config.GetClientCertificate != nil {
		cert, _ := config.GetClientCertificate(nil)
		c.date(table+".cert_file", in.CertFile, "the certificate", cert.Leaf, now)
	}
}

// date warns about a certificate that is not valid now, or not for long.
func (c *compiler) date(key, value, name string, cert *x509.Certificate, now time.Time) {
	reason := ""
	switch {
	case now.After(cert.NotAfter):
		reason = "is not valid now: it expired at " + cert.NotAfter.UTC().Format(time.RFC3339)
	case now.Before(cert.NotBefore):
		reason = "is not valid now: it is valid from " + cert.NotBefore.UTC().Format(time.RFC3339)
	case cert.NotAfter.Sub(now) < certificateSoon:
		reason = "ends soon, at " + cert.NotAfter.UTC().Format(time.RFC3339)
	default:
		return
	}
	c.warnings = append(c.warnings, &FieldError{Key: c.prefix + key, Value: value, Reason: name + " " + reason})
}

// tlsOf is the TLS of connections to the https upstreams of r. It is theirs to change.
func (p *Proxy) tlsOf(r *route) *tls.Config {
	config := r.tls.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.RootCAs == nil {
		config.RootCAs = p.roots
	}
	return config
}

// adviseTLS adds to err, the failure of an attempt at u, an upstream of r, what to do about
// it, if it may be one of TLS.
func (r *route) adviseTLS(u *url.URL, err error) error {
	advice := ""
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		advice = "name the authority that signed the upstream's certificate in upstream_tls.ca_file of the route"
	case errors.As(err, new(x509.HostnameError)):
		advice = "set upstream_tls.server_name of the route to a name that the upstream's certificate has"
	case errors.As(err, new(x509.CertificateInvalidError)):
		advice = "replace the upstream's certificate by one that is valid now and for servers"
	case errors.As(err, new(tls.RecordHeaderError)):
		advice = "the upstream does not speak TLS at this port; write http:// in upstreams of the route"
	case !isAlert(err) && (u.Scheme != "https" || !isReset(err)):
		return err
	case r.tls != nil && r.tls.GetClientCertificate != nil:
		advice = "if the upstream does not accept this node's certificate, replace upstream_tls.cert_file and key_file of the route by ones that it does"
	default:
		advice = "if the upstream asks for a certificate, set upstream_tls.cert_file and key_file of the route"
	}
	return fmt.Errorf("%w; %s", err, advice)
}

// isReset reports whether the upstream has ended a connection that was being written to. An
// upstream that does not accept a certificate says so in an alert after the handshake of
// TLS 1.3, and ends the connection at once. If the request meets the end first, nobody reads
// the alert.
func isReset(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// isAlert reports whether err is an alert of TLS that an upstream has sent, or how HTTP/2
// puts one that follows the handshake.
func isAlert(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error" && strings.HasPrefix(alert.Err.Error(), "tls: ") ||
		strings.Contains(err.Error(), "http2: client conn could not be established")
}
