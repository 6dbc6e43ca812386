package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/node/datadir"
)

// Sink is a place to which the audit log is sent.
type Sink struct {
	URL       string   `koanf:"url"`
	Format    string   `koanf:"format"`   // json; "" is json
	Accounts  []string `koanf:"accounts"` // whose events are sent; empty: all
	CAFile    string   `koanf:"ca_file"`
	TokenFile string   `koanf:"token_file"`
}

// The bounds of sinks.
const (
	maxSinks        = 8
	maxSinkAccounts = 100
	maxCAFile       = 1 << 20
	maxSinkToken    = 4096
)

// SinkURL reads the URL of a sink.
func SinkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("must not hold a user, a password or a fragment; token_file is for a secret")
	case u.Scheme == "syslog+tls" && u.Hostname() != "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "",
		u.Scheme == "https" && u.Hostname() != "",
		u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path) && u.RawQuery == "":
		return u, nil
	}
	return nil, errors.New(`must be "syslog+tls://HOST:PORT", "https://…" or "file:/absolute/path"`)
}

// sinks checks [[audit.sinks]].
func (v validator) sinks() {
	v.check(sinksKey, len(v.Audit.Sinks) <= maxSinks, fmt.Sprintf("must be at most %d sinks", maxSinks))
	seen := map[string]bool{}
	for i := range v.Audit.Sinks {
		s := &v.Audit.Sinks[i]
		fault := func(name string, value any, reason string) {
			v.l.fault(v.source.of[sinksKey], fmt.Sprintf("%s[%d].%s", sinksKey, i, name), value, reason)
		}
		u, err := SinkURL(s.URL)
		if err != nil {
			fault("url", nil, err.Error()) // it may hold a password
			continue
		}
		if seen[s.URL] {
			fault("url", s.URL, "is that of another sink; give one sink the accounts of both")
		}
		seen[s.URL] = true
		if s.Format != "" && s.Format != "json" {
			fault("format", s.Format, `must be "json"`)
		}
		if s.CAFile != "" && u.Scheme == "file" {
			fault("ca_file", s.CAFile, "is for sinks over TLS")
		}
		if s.TokenFile != "" && u.Scheme != "https" {
			fault("token_file", s.TokenFile, "is for sinks with https")
		}
		if len(s.Accounts) > maxSinkAccounts || slices.Contains(s.Accounts, "") {
			fault("accounts", nil, fmt.Sprintf("must be at most %d ids of accounts", maxSinkAccounts))
		}
	}
}

// SinkFiles reads the certificates that a sink's receiver is verified with, nil for the
// system's, and the token that it gets. An error is a [*UsageError].
func (c *Config) SinkFiles(i int) (roots *x509.CertPool, token string, err error) {
	s := &c.Audit.Sinks[i]
	place := func(name string) string { return fmt.Sprintf("%s[%d].%s", sinksKey, i, name) }
	if s.CAFile != "" {
		raw, err := datadir.ReadFile(s.CAFile, maxCAFile)
		if err != nil {
			return nil, "", c.FaultAt(sinksKey, place("ca_file"), s.CAFile, "read the certificates: "+datadir.Reason(err).Error())
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(raw) {
			return nil, "", c.FaultAt(sinksKey, place("ca_file"), s.CAFile, "holds no certificate in PEM")
		}
	}
	if s.TokenFile != "" {
		raw, err := datadir.ReadFile(s.TokenFile, maxSinkToken)
		if err != nil {
			return nil, "", c.FaultAt(sinksKey, place("token_file"), s.TokenFile, "read the token: "+datadir.Reason(err).Error())
		}
		token = strings.TrimSpace(string(raw))
	}
	return roots, token, nil
}
