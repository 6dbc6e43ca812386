package config

import (
	"net"
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/store/seal"
)

// Config is the whole configuration of a node, resolved from defaults, file,
// environment and flags. It is not changed after [Load]; a reload makes another
// one. The tags are the fixed names of the file's keys.
type Config struct {
	Node        Node              `koanf:"node"`
	Proxy       Proxy             `koanf:"proxy"`
	Admin       Admin             `koanf:"admin"`
	Cluster     Cluster           `koanf:"cluster"`
	Accounts    Accounts          `koanf:"accounts"`
	Regions     map[string]string `koanf:"regions"` // base URL of the management API of each region
	SignIn      SignIn            `koanf:"signin"`
	Encryption  Encryption        `koanf:"encryption"`
	Audit       Audit             `koanf:"audit"`
	Metering    Metering          `koanf:"metering"`
	Webhooks    Webhooks          `koanf:"webhooks"`
	Mail        Mail              `koanf:"mail"`
	GeoIP       GeoIP             `koanf:"geoip"`
	Doors       Doors             `koanf:"doors"`
	Telemetry   Telemetry         `koanf:"telemetry"`
	SecurityTxt SecurityTxt       `koanf:"security_txt"`
	Log         Log               `koanf:"log"`
	Backup      Backup            `koanf:"backup"`

	source source
}

// Node identifies this node and names the place of its data.
type Node struct {
	Name    string `koanf:"name"` // the host name unless set
	DataDir string `koanf:"data_dir"`
	Region  string `koanf:"region"` // of the whole cluster; "" states none
	Memory  Size   `koanf:"memory"` // 0: from the control group or the machine
}

// Proxy is the enforcing listener and its upstreams.
type Proxy struct {
	Listen         string         `koanf:"listen"`
	Upstream       string         `koanf:"upstream"` // one catch-all route
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`
	ClientIPHeader string         `koanf:"client_ip_header"`
	ProxyProtocol  bool           `koanf:"proxy_protocol"`
	KeyHeader      string         `koanf:"key_header"` // "" reads Authorization alone
	SelfService    bool           `koanf:"self_service"`
	EventLoops     bool           `koanf:"event_loops"` // on Linux, in plaintext
	Demo           bool           `koanf:"demo"`
	ShutdownDelay  time.Duration  `koanf:"shutdown_delay"` // between a 503 at /readyz and the drain
	Drain          time.Duration  `koanf:"drain"`          // time for requests in flight to end
	TLS            TLS            `koanf:"tls"`
	Routes         []Route        `koanf:"routes"`
}

// Admin is the listener of the management API and metrics.
type Admin struct {
	Listen         string         `koanf:"listen"`
	Insecure       bool           `koanf:"insecure"` // plaintext off loopback
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`
	TLS            TLS            `koanf:"tls"`
}

// TLS names one listener's certificate; both files or neither.
type TLS struct {
	CertFile     string `koanf:"cert_file"`      // PEM, the chain with the leaf first
	KeyFile      string `koanf:"key_file"`       // PEM
	ClientCAFile string `koanf:"client_ca_file"` // PEM; if set, clients must have a certificate signed by one of these
	MinVersion   string `koanf:"min_version"`    // "1.3"; "1.2" on the proxy alone
}

// Cluster is this node's part in a cluster.
type Cluster struct {
	Listen       string        `koanf:"listen"` // "" is off
	Advertise    string        `koanf:"advertise"`
	Join         []string      `koanf:"join"`
	Expect       int           `koanf:"expect"` // voters that form a new cluster
	SecretFile   string        `koanf:"secret_file"`
	Lease        time.Duration `koanf:"lease"`
	WhenIsolated string        `koanf:"when_isolated"` // refuse, serve

	Secret []byte `koanf:"-"` // PERFGATE_CLUSTER_SECRET; see [Config.ClusterSecret]
}

// Accounts holds defaults of a new installation.
type Accounts struct {
	DefaultTier string `koanf:"default_tier"` // of the account "default"
}

// SignIn bounds the sessions of people, and names the hosts at which they are accepted
// besides localhost and IP addresses.
type SignIn struct {
	AllowedHosts []string      `koanf:"allowed_hosts"`
	Idle         time.Duration `koanf:"idle"`
	Max          time.Duration `koanf:"max"`
	OIDC         OIDC          `koanf:"oidc"`
}

// OIDC is the provider that people sign in with; without an issuer there is none.
type OIDC struct {
	Issuer           string            `koanf:"issuer"`
	ClientID         string            `koanf:"client_id"`
	ClientSecretFile string            `koanf:"client_secret_file"`
	GroupsClaim      string            `koanf:"groups_claim"`
	Roles            map[string]string `koanf:"roles"` // of groups: "role" or "account:role"
}

// Encryption names the source of the key of the data at rest, one at most. Without any,
// the node makes a key file in its data directory.
type Encryption struct {
	KeyFile    string `koanf:"key_file"`
	KeyCommand string `koanf:"key_command"`

	Key         string `koanf:"-"` // from PERFGATE_ENCRYPTION_KEY
	PreviousKey string `koanf:"-"` // from PERFGATE_ENCRYPTION_KEY_PREVIOUS, while the key is replaced
}

// Audit bounds the request audit of this node.
type Audit struct {
	Requests string `koanf:"requests"` // all, denied, off
	MaxBytes Size   `koanf:"max_bytes"`
	Sinks    []Sink `koanf:"sinks"`
}

// Webhooks bounds the destinations of webhooks.
type Webhooks struct {
	AllowPrivate []netip.Prefix `koanf:"allow_private"` // besides the public Internet
}

// Mail is the server by which digests of what needs attention are sent.
type Mail struct {
	SMTP         string        `koanf:"smtp"` // HOST:PORT; "" is off
	From         string        `koanf:"from"`
	To           []string      `koanf:"to"`
	Username     string        `koanf:"username"`
	PasswordFile string        `koanf:"password_file"`
	Digest       time.Duration `koanf:"digest"` // between two digests
}

// GeoIP names the source of the countries of clients.
type GeoIP struct {
	Database string `koanf:"database"` // a file in MaxMind's format; "" knows no country
	Header   string `koanf:"header"`   // in which trusted proxies send the country; "" reads none
}

// Doors are for other proxies, which ask before they forward.
type Doors struct {
	ForwardAuthFrom []netip.Prefix `koanf:"forward_auth_from"` // peers that may ask at /forward-auth; none: nobody
	GRPCListen      string         `koanf:"grpc_listen"`       // for Envoy; "" is off
}

// Telemetry is the collector that gets the metrics.
type Telemetry struct {
	OTLPEndpoint string `koanf:"otlp_endpoint"` // base URL for OTLP over HTTP; "" is off
}

// SecurityTxt is /.well-known/security.txt (RFC 9116); without a contact there is
// no such page.
type SecurityTxt struct {
	Contact            OneOrMore `koanf:"contact"`
	Expires            time.Time `koanf:"expires"`
	Policy             OneOrMore `koanf:"policy"`
	Acknowledgments    OneOrMore `koanf:"acknowledgments"`
	Encryption         OneOrMore `koanf:"encryption"`
	PreferredLanguages OneOrMore `koanf:"preferred_languages"`
	Canonical          OneOrMore `koanf:"canonical"`
	Hiring             OneOrMore `koanf:"hiring"`
}

// Log is the log on stderr.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // json, text
	Access bool   `koanf:"access"` // a line for each proxied request
}

// Backup is the schedule of backups.
type Backup struct {
	Dir   string        `koanf:"dir"` // "" is off
	Every time.Duration `koanf:"every"`
	Keep  int           `koanf:"keep"`
	// Recipients are the public keys that backups are encrypted for; the environment has no
	// passphrase then.
	Recipients []string `koanf:"recipients"`

	Passphrase string `koanf:"-"` // from PERFGATE_BACKUP_PASSPHRASE
}

// To says who can open the backups.
func (b *Backup) To() seal.To { return seal.To{Passphrase: b.Passphrase, Recipients: b.Recipients} }

// OperatorToken is the value of PERFGATE_OPERATOR_TOKEN, or "".
func (c *Config) OperatorToken() string { return c.source.operatorToken }

// File is the path of the configuration file, or "".
func (c *Config) File() string { return c.source.file }

// Getenv looks up an environment variable in the environment that c was loaded
// from.
func (c *Config) Getenv(name string) (value string, ok bool) {
	if c.source.env == nil {
		return "", false
	}
	return c.source.env(name)
}

// RunsDemo tells whether the demo runs: when it is switched on, and while nothing
// is routed.
func (c *Config) RunsDemo() bool {
	return c.Proxy.Demo || !c.Routed()
}

// Routed tells whether a route to an upstream is configured.
func (c *Config) Routed() bool { return c.Proxy.Upstream != "" || len(c.Proxy.Routes) > 0 }

// Loopback tells whether only this machine can reach the listener.
func (a Admin) Loopback() bool { return Loopback(a.Listen) }

// Loopback tells whether only this machine can reach a listener at addr, HOST:PORT.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
