package config

// setting is one key of the configuration, with its default as the file would
// write it.
type setting struct {
	key   string
	value any    // string, bool, int64, []any
	flag  string // "" if it has none; see env for the variable
	usage string // help of the flag
	live  bool   // a reload applies it
}

// dataDir, keyFile and keyCommand are the keys that restore and recover have too, routesKey
// and sinksKey the lists of tables, regionsKey the one table whose names the operator chooses.
const (
	dataDir    = "node.data_dir"
	keyFile    = "encryption.key_file"
	keyCommand = "encryption.key_command"
	routesKey  = "proxy.routes"
	regionsKey = "regions"
	oidcRoles  = "signin.oidc.roles"
	sinksKey   = "audit.sinks"
)

// Names that are not keys of the file.
const (
	configFlag       = "config"
	configEnv        = "PERFGATE_CONFIG"
	clusterSecretEnv = "PERFGATE_CLUSTER_SECRET"
	operatorTokenEnv = "PERFGATE_OPERATOR_TOKEN"

	// EncryptionKeyEnv has the key of the data at rest, and PreviousKeyEnv the one before it
	// while it is replaced.
	EncryptionKeyEnv = "PERFGATE_ENCRYPTION_KEY"
	PreviousKeyEnv   = "PERFGATE_ENCRYPTION_KEY_PREVIOUS"

	// PassphraseEnv has the passphrase of scheduled backups, and of restore's.
	PassphraseEnv = "PERFGATE_BACKUP_PASSPHRASE"
)

// none is the empty list.
var none = []any{}

// settings lists every key, in the order of config.example.toml.
var settings = []setting{
	{key: "node.name", value: "", flag: "name", usage: "name of this node, unique in its cluster (default: the host name)"},
	{key: dataDir, value: "./perfgate-data", flag: "data-dir", usage: "directory for all state; created if missing"},
	{key: "node.region", value: "", flag: "region", usage: "region of the cluster, the same on every node"},
	{key: "node.memory", value: ""},

	{key: "proxy.listen", value: ":8080", flag: "proxy-listen", usage: "address of the enforcing proxy, HOST:PORT"},
	{key: "proxy.upstream", value: "", flag: "upstream", usage: "URL of the upstream for all paths, as one catch-all route", live: true},
	{key: "proxy.trusted_proxies", value: none, flag: "trusted-proxies", usage: "CIDRs of proxies trusted to report the client's address, separated by commas"},
	{key: "proxy.client_ip_header", value: "X-Forwarded-For"},
	{key: "proxy.proxy_protocol", value: false},
	{key: "proxy.key_header", value: ""},
	{key: "proxy.self_service", value: true},
	{key: "proxy.event_loops", value: false},
	{key: "proxy.demo", value: false, flag: "demo", usage: "serve a built-in echo upstream and print a test key that expires after 24 h"},
	{key: "proxy.shutdown_delay", value: "2s"},
	{key: "proxy.drain", value: "6s"},
	{key: "proxy.tls.cert_file", value: "", live: true},
	{key: "proxy.tls.key_file", value: "", live: true},
	{key: "proxy.tls.client_ca_file", value: "", live: true},
	{key: "proxy.tls.min_version", value: "1.3"},
	{key: routesKey, value: none, live: true},

	{key: "admin.listen", value: "127.0.0.1:8081", flag: "admin-listen", usage: "address of the management API and metrics, HOST:PORT"},
	{key: "admin.insecure", value: false},
	{key: "admin.trusted_proxies", value: none},
	{key: "admin.tls.cert_file", value: "", live: true},
	{key: "admin.tls.key_file", value: "", live: true},
	{key: "admin.tls.client_ca_file", value: "", live: true},
	{key: "admin.tls.min_version", value: "1.3"},

	{key: "cluster.listen", value: "", flag: "cluster-listen", usage: "address for other nodes, HOST:PORT; empty is a lone node"},
	{key: "cluster.advertise", value: "", flag: "cluster-advertise", usage: "address at which other nodes reach this one, HOST:PORT"},
	{key: "cluster.join", value: none, flag: "join", usage: "addresses of the nodes of the cluster, HOST:PORT,…"},
	{key: "cluster.expect", value: int64(1), flag: "expect", usage: "number of nodes that form a new cluster"},
	{key: "cluster.secret_file", value: "", live: true},
	{key: "cluster.lease", value: "5s"},
	{key: "cluster.when_isolated", value: "refuse"},

	{key: "accounts.default_tier", value: "free"},

	{key: regionsKey, value: map[string]any{}},
	{key: "signin.allowed_hosts", value: none},
	{key: "signin.idle", value: "30m"},
	{key: "signin.max", value: "12h"},
	{key: "signin.oidc.issuer", value: ""},
	{key: "signin.oidc.client_id", value: ""},
	{key: "signin.oidc.client_secret_file", value: ""},
	{key: "signin.oidc.groups_claim", value: "groups"},
	{key: oidcRoles, value: map[string]any{}},

	{key: keyFile, value: ""},
	{key: keyCommand, value: ""},

	{key: "audit.requests", value: "all"},
	{key: "audit.max_bytes", value: "1GiB"},
	{key: sinksKey, value: none},

	{key: "metering.url", value: ""},
	{key: "metering.format", value: "cloudevents"},
	{key: "metering.ca_file", value: ""},
	{key: "metering.token_file", value: ""},

	{key: "webhooks.allow_private", value: none},

	{key: "mail.smtp", value: ""},
	{key: "mail.from", value: ""},
	{key: "mail.to", value: none},
	{key: "mail.username", value: ""},
	{key: "mail.password_file", value: ""},
	{key: "mail.digest", value: "24h"},

	{key: "geoip.database", value: ""},
	{key: "geoip.header", value: ""},

	{key: "doors.forward_auth_from", value: none},
	{key: "doors.grpc_listen", value: ""},

	{key: "telemetry.otlp_endpoint", value: ""},

	{key: "security_txt.contact", value: none},
	{key: "security_txt.expires", value: ""},
	{key: "security_txt.policy", value: none},
	{key: "security_txt.acknowledgments", value: none},
	{key: "security_txt.encryption", value: none},
	{key: "security_txt.preferred_languages", value: none},
	{key: "security_txt.canonical", value: none},
	{key: "security_txt.hiring", value: none},

	{key: "log.level", value: "info", flag: "log-level", usage: "debug, info, warn or error", live: true},
	{key: "log.format", value: "text", flag: "log-format", usage: "json or text"},
	{key: "log.access", value: false, live: true},

	{key: "backup.dir", value: ""},
	{key: "backup.every", value: "24h"},
	{key: "backup.keep", value: int64(7)},
	{key: "backup.recipients", value: none},
}
