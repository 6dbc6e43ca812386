package config

import (
	"crypto/x509"
	"net/netip"
	"net/url"
	"strings"

	"github.com/perfgate/perfgate/node/datadir"
)

// Metering is the receiver of usage as events.
type Metering struct {
	URL       string `koanf:"url"`    // "" is off
	Format    string `koanf:"format"` // cloudevents or lago
	CAFile    string `koanf:"ca_file"`
	TokenFile string `koanf:"token_file"`
}

// metering checks the receiver of usage.
func (v validator) metering() {
	m := &v.Metering
	v.oneOf("metering.format", m.Format, "cloudevents", "lago")
	if m.URL == "" {
		v.check("metering.token_file", m.TokenFile == "", "is for a receiver; metering.url must be set too")
		return
	}
	u, err := url.Parse(m.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		v.l.fault(v.source.of["metering.url"], "metering.url", nil, // it may hold a password
			`must be a URL such as "https://openmeter.example.com/api/v1/events", without a user, a password and a fragment; token_file is for a secret`)
		return
	}
	host, _ := netip.ParseAddr(u.Hostname())
	v.check("metering.token_file", m.TokenFile == "" || u.Scheme == "https" || host.IsLoopback() || u.Hostname() == "localhost",
		"is for a receiver with https, or on this machine: the token would cross the network in the clear")
	v.check("metering.ca_file", m.CAFile == "" || u.Scheme == "https", "is for a receiver with https")
}

// MeteringFiles reads the certificates that the receiver of usage is verified with, nil for the
// system's, and the token that it gets. An error is a [*UsageError].
func (c *Config) MeteringFiles() (roots *x509.CertPool, token string, err error) {
	m := &c.Metering
	if m.CAFile != "" {
		raw, err := datadir.ReadFile(m.CAFile, maxCAFile)
		if err != nil {
			return nil, "", c.Fault("metering.ca_file", "read the certificates: "+datadir.Reason(err).Error())
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(raw) {
			return nil, "", c.Fault("metering.ca_file", "holds no certificate in PEM")
		}
	}
	if m.TokenFile != "" {
		raw, err := datadir.ReadFile(m.TokenFile, maxSinkToken)
		if err != nil {
			return nil, "", c.Fault("metering.token_file", "read the token: "+datadir.Reason(err).Error())
		}
		token = strings.TrimSpace(string(raw))
	}
	return roots, token, nil
}
