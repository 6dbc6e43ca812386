package node

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of the two secrets that the environment gives, in bytes.
const (
	minClusterSecret = 32
	maxClusterSecret = 4096
	minOperatorToken = 16
	maxOperatorToken = 256
)

var (
	nodeName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	fieldName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$") // RFC 9110 section 5.1
	hostName  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?$`)
)

// secrets takes the secrets that only the environment gives. Their values are
// in no error.
func (c *Config) secrets(env Getenv, l *loader) {
	if v, ok := env(clusterSecretEnv); ok && strings.TrimSpace(v) != "" {
		v = strings.TrimSpace(v) // as what a file holds is
		if len(v) < minClusterSecret || len(v) > maxClusterSecret {
			l.fault(clusterSecretEnv, "", nil, fmt.Sprintf("want a secret of %d to %d bytes, not %d; \"perfgate cluster secret\" makes one", minClusterSecret, maxClusterSecret, len(v)))
		}
		c.Cluster.Secret = []byte(v)
	}
	if v, ok := env(passphraseEnv); ok {
		c.Backup.Passphrase = v
	}
	if v, ok := env(operatorTokenEnv); ok && v != "" {
		visible := !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' })
		if len(v) < minOperatorToken || len(v) > maxOperatorToken || !visible {
			l.fault(operatorTokenEnv, "", nil, fmt.Sprintf("want %d to %d visible ASCII characters without spaces", minOperatorToken, maxOperatorToken))
		}
		c.source.operatorToken = v
	}
}

// resolve fills in what is derived from the machine.
func (c *Config) resolve() {
	if c.Node.Name != "" {
		return
	}
	host, err := os.Hostname()
	if err != nil || !nodeName.MatchString(host) {
		host = "perfgate"
	}
	c.Node.Name = host
}

// validate checks every value by itself and those that depend on each other.
func (c *Config) validate(l *loader) {
	bad := func(key, want string) { l.fault(c.source.of[key], key, c.source.raw[key], want) }
	check := func(key string, ok bool, want string) {
		if !ok {
			bad(key, want)
		}
	}
	oneOf := func(key, v string, options ...string) {
		check(key, slices.Contains(options, v), "want "+quoted(options))
	}
	between := func(key string, d, low, high time.Duration) {
		check(key, d >= low && d <= high, fmt.Sprintf("want a duration from %s to %s", short(low), short(high)))
	}
	address := func(key, v string) {
		if want := addressFault(v); want != "" {
			bad(key, want)
		}
	}

	check("node.name", nodeName.MatchString(c.Node.Name), "want 1 to 63 letters, digits, dots, dashes or underscores, beginning and ending with a letter or digit")
	check("node.data_dir", c.Node.DataDir != "" && !strings.ContainsRune(c.Node.DataDir, 0), "want the path of a directory")
	check("node.region", len(c.Node.Region) <= 64 && printable(c.Node.Region), "want at most 64 printable characters")

	p := c.Proxy
	address("proxy.listen", p.Listen)
	check("proxy.client_ip_header", fieldName.MatchString(p.ClientIPHeader), "want the name of one header field")
	check("proxy.proxy_protocol", !p.ProxyProtocol || len(p.TrustedProxies) > 0, "proxy.trusted_proxies must list who may speak it")
	check("proxy.key_header", p.KeyHeader == "" || fieldName.MatchString(p.KeyHeader), "want the name of a header field")
	check("proxy.key_header", !strings.EqualFold(p.KeyHeader, "Authorization"), "Authorization is always read; name another header field or leave it empty")
	between("proxy.shutdown_delay", p.ShutdownDelay, 0, time.Hour)
	between("proxy.drain", p.Drain, 0, time.Hour)
	c.Proxy.TLS.validate("proxy.tls", bad)
	oneOf("proxy.tls.min_version", p.TLS.MinVersion, "1.3", "1.2")
	check("proxy.tls.client_ca_file", p.TLS.ClientCAFile == "" || p.TLS.CertFile != "", "proxy.tls.cert_file and key_file are needed too")

	address("admin.listen", c.Admin.Listen)
	check("admin.listen", c.Admin.Listen != p.Listen || strings.HasSuffix(p.Listen, ":0"), "proxy.listen has the same address")
	c.Admin.TLS.validate("admin.tls", bad)
	oneOf("admin.tls.min_version", c.Admin.TLS.MinVersion, "1.3")
	check("admin.insecure", !c.Admin.Insecure || c.Admin.TLS.ClientCAFile == "", "admin.tls.client_ca_file has no meaning without TLS")

	cl := c.Cluster
	for key, v := range map[string]string{"cluster.listen": cl.Listen, "cluster.advertise": cl.Advertise} {
		if v != "" {
			address(key, v)
		}
	}
	for _, peer := range cl.Join {
		if want := addressFault(peer); want != "" {
			bad("cluster.join", want)
		}
	}
	check("cluster.expect", cl.Expect >= 1 && cl.Expect <= 99, "want a number of nodes from 1 to 99")
	check("cluster.expect", cl.Expect <= 1 || len(cl.Join) > 0, "cluster.join must say where the other nodes are")
	for _, own := range []string{p.Listen, c.Admin.Listen} {
		check("cluster.listen", cl.Listen == "" || cl.Listen != own || strings.HasSuffix(own, ":0"), "another listener has the same address")
	}
	if cl.Listen == "" {
		for key, set := range map[string]bool{
			"cluster.join": len(cl.Join) > 0, "cluster.advertise": cl.Advertise != "", "cluster.expect": cl.Expect > 1,
		} {
			check(key, !set, "cluster.listen must say where this node hears the others")
		}
	} else {
		check("cluster.secret_file", cl.SecretFile != "" || len(cl.Secret) > 0,
			"a cluster needs its secret here or in "+clusterSecretEnv+", the same on every node; \"perfgate cluster secret\" makes one")
	}
	// A write may have to wait for one to end, and the caller of a write waits 10 s.
	between("cluster.lease", cl.Lease, time.Second, 9*time.Second)
	check("cluster.secret_file", cl.SecretFile == "" || len(cl.Secret) == 0, clusterSecretEnv+" is set too; want one of them")
	oneOf("cluster.when_isolated", cl.WhenIsolated, "refuse", "serve")

	// A new installation has the built-in tiers alone.
	oneOf("accounts.default_tier", c.Accounts.DefaultTier, "free", "pro", "enterprise")
	check("encryption.key_file", c.Encryption.KeyFile == "" || c.Encryption.KeyCommand == "", "encryption.key_command is set too; want one of them")
	oneOf("audit.requests", c.Audit.Requests, "all", "denied", "off")
	check("audit.max_bytes", c.Audit.MaxBytes >= 1<<20, `want at least "1MiB"`)
	c.SecurityTxt.validate(bad)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "json", "text")
	check("backup.dir", !strings.ContainsRune(c.Backup.Dir, 0), "want the path of a directory")
	between("backup.every", c.Backup.Every, time.Minute, 366*24*time.Hour)
	check("backup.keep", c.Backup.Keep >= 1 && c.Backup.Keep <= 10000, "want a number of backups from 1 to 10000")

	for _, s := range settings() {
		if s.later != "" && !reflect.DeepEqual(c.source.raw[s.key], s.value) {
			bad(s.key, s.later+" is not available in this version; leave the key out")
		}
	}
}

func (t *TLSConfig) validate(table string, bad func(key, want string)) {
	if t.CertFile != "" && t.KeyFile == "" {
		bad(table+".cert_file", table+".key_file is missing")
	}
	if t.KeyFile != "" && t.CertFile == "" {
		bad(table+".key_file", table+".cert_file is missing")
	}
}

// validate checks what RFC 9116 section 2.5 asks of each field. A time that has
// passed is no fault here: it would keep a node from starting again.
func (s *SecurityTxtConfig) validate(bad func(key, want string)) {
	for _, f := range []struct {
		key    string
		values []string
	}{
		{"contact", s.Contact}, {"policy", s.Policy}, {"acknowledgments", s.Acknowledgments},
		{"encryption", s.Encryption}, {"canonical", s.Canonical}, {"hiring", s.Hiring},
	} {
		for _, v := range f.values {
			u, err := url.Parse(v)
			switch {
			case err != nil || !u.IsAbs() || !printable(v) || strings.ContainsRune(v, ' '):
				want := `want a URI such as "https://example.com/security"`
				if f.key == "contact" {
					want = `want a URI such as "mailto:security@example.com" or "https://example.com/security"`
				}
				bad("security_txt."+f.key, want)
			case u.Scheme == "http":
				bad("security_txt."+f.key, "want https:// (RFC 9116 section 2.5)")
			}
		}
	}
	for _, v := range s.PreferredLanguages {
		if v == "" || !printable(v) {
			bad("security_txt.preferred_languages", `want language tags such as "en"`)
		}
	}
	if len(s.Contact) > 0 && s.Expires.IsZero() {
		bad("security_txt.expires", `want the time until which this page is true, such as "2027-12-31T00:00:00Z" (RFC 9116 section 2.5.5)`)
	}
	if len(s.Contact) == 0 && (!s.Expires.IsZero() || len(s.Policy)+len(s.Acknowledgments)+len(s.Encryption)+len(s.Canonical)+len(s.Hiring)+len(s.PreferredLanguages) > 0) {
		bad("security_txt.contact", "want at least one contact (RFC 9116 section 2.5.3)")
	}
}

// addressFault says what is wrong with HOST:PORT, or "".
func addressFault(s string) string {
	const want = `want HOST:PORT, such as ":8080" or "127.0.0.1:0"`
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return want + "; the port is a number from 0 to 65535"
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !hostName.MatchString(host) {
		return want + "; the host is a name or an address"
	}
	return ""
}

// redact hides the password of a URL.
func redact(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func quoted(options []string) string {
	out := make([]string, 0, len(options))
	for _, o := range options {
		out = append(out, strconv.Quote(o))
	}
	return strings.Join(out, " or ")
}

// short writes a duration without its zero units: "1h", not "1h0m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
