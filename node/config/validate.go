package config

import (
	"fmt"
	"maps"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/span"
)

var (
	nodeName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	oidcRole  = regexp.MustCompile(`^((default|acct_[0-9A-Za-z]+):)?(owner|admin|developer|viewer)$|^operator$`)
	fieldName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$") // RFC 9110 section 5.1
)

// resolve fills in values that are derived from the machine.
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

// validator checks every value by itself and those that depend on each other.
// Its faults go to l.
type validator struct {
	*Config
	l *loader
}

func (v validator) all() {
	v.node()
	v.proxy()
	v.admin()
	v.doors()
	v.cluster()
	v.signIn()
	v.records()
	v.sinks()
	v.metering()
	v.mail()
	v.securityTxt()
	v.telemetry()
}

func (v validator) node() {
	n := &v.Node
	v.check("node.name", nodeName.MatchString(n.Name),
		"must be 1 to 63 letters, digits, dots, dashes or underscores, and begin and end with a letter or digit")
	v.check("node.data_dir", n.DataDir != "" && !strings.ContainsRune(n.DataDir, 0), "must be the path of a directory")
	v.check("node.memory", n.Memory >= 128<<20 || v.source.raw["node.memory"] == "", `must be at least "128MiB", or empty`)
	v.check("node.region", len(n.Region) <= maxRegion && printable(n.Region), "must be at most 64 printable characters")
	for _, name := range slices.Sorted(maps.Keys(v.Regions)) {
		v.region(name, v.Regions[name])
	}
}

// maxRegion bounds the name of a region, in bytes.
const maxRegion = 64

// region checks an entry of [regions]: clients are told the URL.
func (v validator) region(name, base string) {
	key := regionsKey + "." + name
	if name == "" || len(name) > maxRegion || !printable(name) {
		v.l.fault(v.source.of[key], key, base, "the name of a region must be 1 to 64 printable characters")
	}
	var shown any = base
	u, err := url.Parse(base)
	if err != nil || u.User != nil {
		shown = nil // it may hold a password
	}
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		v.l.fault(v.source.of[key], key, shown, "must be the base URL of that region's management API, such as \"https://eu.example.com\"")
	}
}

func (v validator) proxy() {
	p := &v.Proxy
	v.address("proxy.listen", p.Listen)
	v.check("proxy.client_ip_header", fieldName.MatchString(p.ClientIPHeader), "must be the name of one header field")
	v.check("proxy.client_ip_header", !framing(p.ClientIPHeader) && !strings.EqualFold(p.ClientIPHeader, "Authorization"),
		"this header has a meaning of its own; name the one in which the proxies report their client, such as X-Forwarded-For")
	v.check("proxy.proxy_protocol", !p.ProxyProtocol || len(p.TrustedProxies) > 0, "proxy.trusted_proxies must list the peers that use it")
	v.check("proxy.key_header", p.KeyHeader == "" || fieldName.MatchString(p.KeyHeader), "must be the name of a header field")
	v.check("proxy.key_header", !strings.EqualFold(p.KeyHeader, "Authorization"),
		"Authorization is always read; name another header field or leave it empty")
	v.check("proxy.key_header", !framing(p.KeyHeader) && !taken(p.KeyHeader),
		"this header has a meaning of its own, so a key in it would never work, or would be seen by others; name one that is for keys alone, such as X-Api-Key")
	v.check("proxy.key_header", p.KeyHeader == "" || !strings.EqualFold(p.KeyHeader, p.ClientIPHeader), "must differ from proxy.client_ip_header")
	for i, r := range p.Routes {
		if place := fmt.Sprintf("%s[%d].pass_authorization", routesKey, i); r.PassAuthorization && p.KeyHeader == "" {
			v.l.fault(v.source.of[routesKey], place, true, "proxy.key_header must name the header that keys come in")
		}
	}
	v.between("proxy.shutdown_delay", p.ShutdownDelay, 0, time.Hour)
	v.between("proxy.drain", p.Drain, 0, time.Hour)
	v.pair("proxy.tls", &p.TLS)
	v.oneOf("proxy.tls.min_version", p.TLS.MinVersion, "1.3", "1.2")
	v.check("proxy.tls.client_ca_file", p.TLS.ClientCAFile == "" || p.TLS.CertFile != "", "proxy.tls.cert_file and key_file must be set too")
}

func (v validator) admin() {
	a := &v.Admin
	v.address("admin.listen", a.Listen)
	v.check("admin.listen", !Overlap(a.Listen, v.Proxy.Listen), "must differ from proxy.listen, also in its port unless each has an address of its own")
	v.pair("admin.tls", &a.TLS)
	v.oneOf("admin.tls.min_version", a.TLS.MinVersion, "1.3")
	v.check("admin.insecure", !a.Insecure || a.TLS.ClientCAFile == "", "must be false, as admin.tls.client_ca_file needs TLS")
	v.check("admin.tls.client_ca_file", a.TLS.ClientCAFile == "" || a.TLS.CertFile != "" || !a.Loopback(),
		"admin.tls.cert_file and key_file must be set too, for on loopback this listener has no TLS without them")
}

func (v validator) doors() {
	own := v.Doors.GRPCListen
	if own == "" {
		return
	}
	v.address("doors.grpc_listen", own)
	for key, other := range map[string]string{"proxy.listen": v.Proxy.Listen, "admin.listen": v.Admin.Listen, "cluster.listen": v.Cluster.Listen} {
		v.check("doors.grpc_listen", other == "" || !Overlap(own, other), "must differ from "+key+", also in its port unless each has an address of its own")
	}
}

func (v validator) signIn() {
	s := &v.SignIn
	for _, host := range s.AllowedHosts {
		v.check("signin.allowed_hosts", hostName.MatchString(host), "must be host names such as gateway.example.com, without a port")
	}
	v.between("signin.idle", s.Idle, time.Minute, 30*24*time.Hour)
	v.between("signin.max", s.Max, time.Minute, 30*24*time.Hour)
	v.check("signin.idle", s.Idle <= s.Max, "must not be longer than signin.max")
	v.oidc(&s.OIDC)
}

func (v validator) oidc(o *OIDC) {
	if o.Issuer == "" {
		const missing = "signin.oidc.issuer must be set too"
		v.check("signin.oidc.client_id", o.ClientID == "", missing)
		v.check("signin.oidc.client_secret_file", o.ClientSecretFile == "", missing)
		v.check(oidcRoles, len(o.Roles) == 0, missing)
		return
	}
	u, err := url.Parse(o.Issuer)
	v.check("signin.oidc.issuer", err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && loopbackName(u.Hostname())) && u.RawQuery == "",
		"must be an https URL such as https://id.example.com, exactly as the provider states it")
	v.check("signin.oidc.client_id", o.ClientID != "", "must be the id of perfgate at the provider")
	v.check("signin.oidc.groups_claim", o.GroupsClaim != "", "must be the claim with the groups of a user")
	for _, group := range slices.Sorted(maps.Keys(o.Roles)) {
		v.check(oidcRoles+"."+group, oidcRole.MatchString(o.Roles[group]),
			`must be owner, admin, developer, viewer or operator, with the account before it unless that is the default: "acct_…:admin"`)
	}
}

// loopbackName reports whether a host is this machine.
func loopbackName(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (v validator) cluster() {
	c := &v.Cluster
	if c.Listen != "" {
		v.address("cluster.listen", c.Listen)
	}
	if reason := peerFault(c.Advertise); c.Advertise != "" && reason != "" {
		v.bad("cluster.advertise", reason)
	}
	v.join()
	v.check("cluster.expect", c.Expect >= 1 && c.Expect <= 99, "must be a number of nodes from 1 to 99")
	for _, own := range []string{v.Proxy.Listen, v.Admin.Listen} {
		v.check("cluster.listen", c.Listen == "" || !Overlap(c.Listen, own), "must differ from proxy.listen and admin.listen, also in its port unless each has an address of its own")
	}
	if c.Listen == "" {
		const missing = "cluster.listen must be set too, the address of this node for the others"
		v.check("cluster.join", len(c.Join) == 0, missing)
		v.check("cluster.advertise", c.Advertise == "", missing)
		v.check("cluster.expect", c.Expect <= 1, missing)
	} else {
		missing := "a cluster needs a secret, here or in " + clusterSecretEnv
		if blank, _ := v.Getenv(clusterSecretEnv); blank != "" {
			missing = clusterSecretEnv + " is blank, and a cluster needs a secret, here or there"
		}
		v.check("cluster.secret_file", c.SecretFile != "" || len(c.Secret) > 0, missing+", the same on every node; \"perfgate cluster secret\" makes one")
	}
	v.check("cluster.secret_file", c.SecretFile == "" || len(c.Secret) == 0, clusterSecretEnv+" is set too; remove one of them")
	// A write may have to wait for a lease to end, and its caller waits 10 s.
	v.between("cluster.lease", c.Lease, time.Second, 9*time.Second)
	v.oneOf("cluster.when_isolated", c.WhenIsolated, "refuse", "serve")
}

// join checks the list of nodes, and that it leads to enough of them for a cluster
// to form: this node need not be in it.
func (v validator) join() {
	c := &v.Cluster
	others := map[string]bool{}
	for i, peer := range c.Join {
		if reason := peerFault(peer); reason != "" {
			v.l.fault(v.source.of["cluster.join"], fmt.Sprintf("cluster.join[%d]", i), peer, reason)
		}
		if !c.Own(peer) {
			others[plainAddress(peer)] = true
		}
	}
	switch nodes := len(others) + 1; {
	case c.Expect <= 1:
	case len(c.Join) == 0:
		v.bad("cluster.expect", "cluster.join must list the other nodes")
	case nodes < c.Expect:
		v.bad("cluster.join", fmt.Sprintf("leads to %s and cluster.expect is %d, so no cluster can form; list the addresses of all nodes, or leave cluster.expect out to join a cluster that exists", countNodes(nodes), c.Expect))
	}
}

// Own reports whether peer is surely an address of this node: the one that it states, or
// one at which it listens.
func (c *Cluster) Own(peer string) bool {
	if plainAddress(peer) == plainAddress(c.Advertise) || plainAddress(peer) == plainAddress(c.Listen) {
		return true
	}
	host, _, _ := net.SplitHostPort(peer)
	ip, err := netip.ParseAddr(plainHost(host))
	return err == nil && ip.IsLoopback() && Overlap(peer, c.Listen)
}

func countNodes(n int) string {
	if n == 1 {
		return "this node alone"
	}
	return fmt.Sprintf("%d nodes at most", n)
}

func (v validator) geoip() {
	g := &v.GeoIP
	v.check("geoip.database", !strings.ContainsRune(g.Database, 0), "must be the path of a file")
	v.check("geoip.header", g.Header == "" || fieldName.MatchString(g.Header), "must be the name of a header field")
	v.check("geoip.header", !framing(g.Header) && !strings.EqualFold(g.Header, "Authorization") && !strings.EqualFold(g.Header, v.Proxy.KeyHeader) || g.Header == "",
		"this header has a meaning of its own; name the one in which the proxies send the client's country, such as CF-IPCountry")
	v.check("geoip.header", g.Header == "" || len(v.Proxy.TrustedProxies) > 0, "proxy.trusted_proxies must list the proxies that send it")
}

// records checks the tables about the data that a node keeps and writes.
func (v validator) records() {
	// A new installation has the built-in tiers alone.
	v.oneOf("accounts.default_tier", v.Accounts.DefaultTier, "free", "pro", "enterprise")
	v.check("encryption.key_file", v.Encryption.KeyFile == "" || v.Encryption.KeyCommand == "", "encryption.key_command is set too; remove one of them")
	v.oneOf("audit.requests", v.Audit.Requests, "all", "denied", "off")
	v.check("audit.max_bytes", v.Audit.MaxBytes >= 1<<20, `must be at least "1MiB"`)
	v.geoip()
	v.oneOf("log.level", v.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", v.Log.Format, "json", "text")
	v.backup()
}

// mail checks the server and the parties of digests.
func (v validator) mail() {
	m := &v.Mail
	if m.SMTP != "" {
		host, _, err := net.SplitHostPort(m.SMTP)
		v.check("mail.smtp", err == nil && host != "" && peerFault(m.SMTP) == "", "must be HOST:PORT, such as mail.example.com:587; port 465 begins with TLS")
		v.check("mail.from", m.From != "", "must be set, since mail.smtp is")
		v.check("mail.to", len(m.To) > 0, "must name a recipient at least, since mail.smtp is set")
	}
	v.check("mail.from", m.From == "" || mailAddress(m.From), "must be an e-mail address, such as perfgate@example.com")
	for i, to := range m.To {
		if !mailAddress(to) {
			v.l.fault(v.source.of["mail.to"], fmt.Sprintf("mail.to[%d]", i), to, "must be an e-mail address")
		}
	}
	v.check("mail.password_file", m.PasswordFile == "" || m.Username != "", "mail.username must be set too")
	v.check("mail.username", m.Username == "" || m.PasswordFile != "", "mail.password_file must be set too")
	v.between("mail.digest", m.Digest, time.Minute, 31*24*time.Hour)
}

func mailAddress(s string) bool {
	a, err := netmail.ParseAddress(s)
	return err == nil && a.Name == ""
}

func (v validator) telemetry() {
	to := v.Telemetry.OTLPEndpoint
	if to == "" {
		return
	}
	const key = "telemetry.otlp_endpoint"
	u, err := url.Parse(to)
	if err == nil && u.User != nil {
		v.l.fault(v.source.of[key], key, nil, "must not hold a password; send a header with OTEL_EXPORTER_OTLP_HEADERS instead")
		return
	}
	v.check(key, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == "",
		`must be the base URL of a collector for OTLP over HTTP, such as "http://127.0.0.1:4318"`)
}

// bad adds a fault of key, unless one is known already: of key itself, or of a key
// that the reason names, whose value is then not the one that was meant.
func (v validator) bad(key, reason string) {
	if slices.ContainsFunc(v.l.faulty, func(known string) bool { return within(known, key) || names(reason, known) }) {
		return
	}
	v.l.fault(v.source.of[key], key, v.source.raw[key], reason)
}

// names reports whether a reason names the key of a known fault, the list that it is in,
// or a key of its table. A key that is part of another name, or a word, as an unknown one
// may be, is not named.
func names(reason, known string) bool {
	key, _, _ := strings.Cut(known, "[")
	_, rest, ok := strings.Cut(reason, key)
	return ok && strings.Contains(key, ".") && (rest == "" || strings.IndexAny(rest, " .,;") == 0)
}

// check adds a fault of key unless ok.
func (v validator) check(key string, ok bool, reason string) {
	if !ok {
		v.bad(key, reason)
	}
}

func (v validator) oneOf(key, value string, options ...string) {
	reason := "must be " + quoted(options)
	if meant := nearest(value, options); meant != "" {
		reason += fmt.Sprintf("; did you mean %q?", meant)
	}
	v.check(key, slices.Contains(options, value), reason)
}

// within reports whether place is key or a part of its value.
func within(place, key string) bool {
	rest, ok := strings.CutPrefix(place, key)
	return ok && (rest == "" || rest[0] == '[' || rest[0] == '.')
}

func (v validator) between(key string, d, low, high time.Duration) {
	v.check(key, d >= low && d <= high, fmt.Sprintf("must be a duration from %s to %s", span.Format(low), span.Format(high)))
}

func (v validator) address(key, value string) {
	if reason := addressFault(value); reason != "" {
		v.bad(key, reason)
	}
}

// pair checks that a certificate comes with its key.
func (v validator) pair(table string, t *TLS) {
	v.check(table+".cert_file", t.CertFile == "" || t.KeyFile != "", table+".key_file is missing")
	v.check(table+".key_file", t.KeyFile == "" || t.CertFile != "", table+".cert_file is missing")
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// quoted lists options as in a sentence: "a", "b" or "c".
func quoted(options []string) string {
	var b strings.Builder
	for i, o := range options {
		switch {
		case i == 0:
		case i == len(options)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(o))
	}
	return b.String()
}
