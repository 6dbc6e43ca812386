package node

import (
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/httpapi/proxy"
)

// Config is the whole configuration of a node, resolved from defaults, file,
// environment and flags. It is not changed after [Load]; a reload makes another
// one. The tags are the fixed names of the file's keys.
type Config struct {
	Node        NodeConfig        `koanf:"node"`
	Proxy       ProxyConfig       `koanf:"proxy"`
	Admin       AdminConfig       `koanf:"admin"`
	Cluster     ClusterConfig     `koanf:"cluster"`
	Accounts    AccountsConfig    `koanf:"accounts"`
	Encryption  EncryptionConfig  `koanf:"encryption"`
	Audit       AuditConfig       `koanf:"audit"`
	Webhooks    WebhooksConfig    `koanf:"webhooks"`
	GeoIP       GeoIPConfig       `koanf:"geoip"`
	SecurityTxt SecurityTxtConfig `koanf:"security_txt"`
	Log         LogConfig         `koanf:"log"`
	Backup      BackupConfig      `koanf:"backup"`

	source source
}

// NodeConfig says who this node is and where it keeps its data.
type NodeConfig struct {
	Name    string `koanf:"name"` // the host's name unless set
	DataDir string `koanf:"data_dir"`
	Region  string `koanf:"region"`
}

// ProxyConfig is the enforcing listener and what lies behind it.
type ProxyConfig struct {
	Listen         string         `koanf:"listen"`
	Upstream       string         `koanf:"upstream"` // one catch-all route
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`
	ClientIPHeader string         `koanf:"client_ip_header"`
	ProxyProtocol  bool           `koanf:"proxy_protocol"`
	KeyHeader      string         `koanf:"key_header"` // "" reads Authorization alone
	SelfService    bool           `koanf:"self_service"`
	Demo           bool           `koanf:"demo"`
	ShutdownDelay  time.Duration  `koanf:"shutdown_delay"` // between a 503 at /readyz and the drain
	Drain          time.Duration  `koanf:"drain"`          // how long requests in flight may take to end
	TLS            TLSConfig      `koanf:"tls"`
	Routes         []proxy.Route  `koanf:"routes"`
}

// AdminConfig is the management listener.
type AdminConfig struct {
	Listen         string         `koanf:"listen"`
	Insecure       bool           `koanf:"insecure"` // plaintext off loopback
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`
	TLS            TLSConfig      `koanf:"tls"`
}

// TLSConfig names one listener's certificate; both files or neither.
type TLSConfig struct {
	CertFile     string `koanf:"cert_file"`      // PEM, the chain with the leaf first
	KeyFile      string `koanf:"key_file"`       // PEM
	ClientCAFile string `koanf:"client_ca_file"` // PEM; set, clients must show a certificate signed by one of these
	MinVersion   string `koanf:"min_version"`    // "1.3"; "1.2" on the proxy alone
}

// ClusterConfig joins nodes into one cluster.
type ClusterConfig struct {
	Listen       string        `koanf:"listen"` // "" is off
	Advertise    string        `koanf:"advertise"`
	Join         []string      `koanf:"join"`
	Expect       int           `koanf:"expect"` // voters that form the cluster
	SecretFile   string        `koanf:"secret_file"`
	Lease        time.Duration `koanf:"lease"`
	WhenIsolated string        `koanf:"when_isolated"` // refuse, serve

	Secret []byte `koanf:"-"` // PERFGATE_CLUSTER_SECRET; see [Config.ClusterSecret]
}

// AccountsConfig holds what new installations begin with.
type AccountsConfig struct {
	DefaultTier string `koanf:"default_tier"` // of the account "default"
}

// EncryptionConfig says where the key of the data at rest comes from; parsed,
// and not available yet.
type EncryptionConfig struct {
	KeyFile    string `koanf:"key_file"`
	KeyCommand string `koanf:"key_command"`
}

// AuditConfig bounds the request audit of this node.
type AuditConfig struct {
	Requests string `koanf:"requests"` // all, denied, off
	MaxBytes Size   `koanf:"max_bytes"`
}

// WebhooksConfig bounds where webhooks may be sent; parsed, and not available yet.
type WebhooksConfig struct {
	AllowPrivate []netip.Prefix `koanf:"allow_private"`
}

// GeoIPConfig names a MaxMind database; parsed, and not available yet.
type GeoIPConfig struct {
	Database string `koanf:"database"`
}

// SecurityTxtConfig is /.well-known/security.txt (RFC 9116); without a contact
// there is none.
type SecurityTxtConfig struct {
	Contact            OneOrMore `koanf:"contact"`
	Expires            time.Time `koanf:"expires"`
	Policy             OneOrMore `koanf:"policy"`
	Acknowledgments    OneOrMore `koanf:"acknowledgments"`
	Encryption         OneOrMore `koanf:"encryption"`
	PreferredLanguages OneOrMore `koanf:"preferred_languages"`
	Canonical          OneOrMore `koanf:"canonical"`
	Hiring             OneOrMore `koanf:"hiring"`
}

// LogConfig is the log on stderr.
type LogConfig struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // json, text
}

// BackupConfig makes backups by itself.
type BackupConfig struct {
	Dir   string        `koanf:"dir"` // "" is off
	Every time.Duration `koanf:"every"`
	Keep  int           `koanf:"keep"`

	Passphrase string `koanf:"-"` // from PERFGATE_BACKUP_PASSPHRASE; "" does not encrypt
}

// OperatorToken is the operator token that PERFGATE_OPERATOR_TOKEN gave, or "".
func (c *Config) OperatorToken() string { return c.source.operatorToken }

// File is the configuration file's path, or "".
func (c *Config) File() string { return c.source.file }
