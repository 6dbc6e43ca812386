package node

import (
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// setting is one key of the configuration, with its default as the file would
// write it.
type setting struct {
	key   string
	value any    // string, bool, int64, []any
	flag  string // "" if only the file has it; the environment name follows from it
	usage string
	live  bool   // a reload applies it
	later string // the feature that this version lacks: setting the key is an error
}

// env is the environment variable of s, or "".
func (s *setting) env() string {
	if s.flag == "" {
		return ""
	}
	return "PERFGATE_" + strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
}

// The names that are no keys of the file.
const (
	configFlag       = "config"
	configEnv        = "PERFGATE_CONFIG"
	clusterSecretEnv = "PERFGATE_CLUSTER_SECRET"
	operatorTokenEnv = "PERFGATE_OPERATOR_TOKEN"
	passphraseEnv    = "PERFGATE_BACKUP_PASSPHRASE" // of serve's own backups, and of restore's
)

// settings lists every key, in the order of config.example.toml.
func settings() []setting {
	const encryption, webhooks, geoip = "encryption at rest", "sending webhooks", "geography"
	none := []any{}
	return []setting{
		{key: "node.name", value: "", flag: "name", usage: "name of this node, unique in its cluster (default: the host's name)"},
		{key: "node.data_dir", value: "./perfgate-data", flag: "data-dir", usage: "directory for all state; made if missing"},
		{key: "node.region", value: "", flag: "region", usage: "where this node stands, shown in the cluster's status"},

		{key: "proxy.listen", value: ":8080", flag: "proxy-listen", usage: "address of the enforcing proxy, HOST:PORT"},
		{key: "proxy.upstream", value: "", flag: "upstream", usage: "URL behind the one catch-all route", live: true},
		{key: "proxy.trusted_proxies", value: none, flag: "trusted-proxies", usage: "CIDRs whose word about the client's address is believed, separated by commas"},
		{key: "proxy.client_ip_header", value: "X-Forwarded-For"},
		{key: "proxy.proxy_protocol", value: false},
		{key: "proxy.key_header", value: ""},
		{key: "proxy.self_service", value: true},
		{key: "proxy.demo", value: false, flag: "demo", usage: "serve a built-in echo upstream and print a test key that ends after 24 h"},
		{key: "proxy.shutdown_delay", value: "2s"},
		{key: "proxy.drain", value: "6s"},
		{key: "proxy.tls.cert_file", value: "", live: true},
		{key: "proxy.tls.key_file", value: "", live: true},
		{key: "proxy.tls.client_ca_file", value: "", live: true},
		{key: "proxy.tls.min_version", value: "1.3"},
		{key: "proxy.routes", value: none, live: true},

		{key: "admin.listen", value: "127.0.0.1:8081", flag: "admin-listen", usage: "address of management API and metrics, HOST:PORT"},
		{key: "admin.insecure", value: false},
		{key: "admin.trusted_proxies", value: none},
		{key: "admin.tls.cert_file", value: "", live: true},
		{key: "admin.tls.key_file", value: "", live: true},
		{key: "admin.tls.client_ca_file", value: "", live: true},
		{key: "admin.tls.min_version", value: "1.3"},

		{key: "cluster.listen", value: "", flag: "cluster-listen", usage: "address for other nodes, HOST:PORT; empty is off"},
		{key: "cluster.advertise", value: "", flag: "cluster-advertise", usage: "address at which other nodes reach this one, HOST:PORT"},
		{key: "cluster.join", value: none, flag: "join", usage: "addresses of the cluster's nodes, HOST:PORT,…"},
		{key: "cluster.expect", value: int64(1), flag: "expect", usage: "number of nodes that form the cluster"},
		{key: "cluster.secret_file", value: "", live: true},
		{key: "cluster.lease", value: "5s"},
		{key: "cluster.when_isolated", value: "refuse"},

		{key: "accounts.default_tier", value: "free"},

		{key: "encryption.key_file", value: "", later: encryption},
		{key: "encryption.key_command", value: "", later: encryption},

		{key: "audit.requests", value: "all"},
		{key: "audit.max_bytes", value: "1GiB"},

		{key: "webhooks.allow_private", value: none, later: webhooks},

		{key: "geoip.database", value: "", later: geoip},

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

		{key: "backup.dir", value: ""},
		{key: "backup.every", value: "24h"},
		{key: "backup.keep", value: int64(7)},
	}
}

// Flags returns the flags of serve and check-config, for [LoadFlags].
func Flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	fs.String(configFlag, "", "configuration file (TOML)")
	for _, s := range settings() {
		if s.flag == "" {
			continue
		}
		switch v := s.value.(type) {
		case string:
			fs.String(s.flag, v, s.usage)
		case bool:
			fs.Bool(s.flag, v, s.usage)
		case int64:
			fs.Int64(s.flag, v, s.usage)
		case []any:
			fs.StringSlice(s.flag, nil, s.usage)
		}
	}
	return fs
}

// parseText reads an environment variable's text as the kind of value that the
// setting has in the file.
func (s *setting) parseText(text string) (v any, want string) {
	switch s.value.(type) {
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, "want true or false"
		}
		return b, ""
	case int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, "want a whole number"
		}
		return n, ""
	case []any:
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, strings.TrimSpace(part))
		}
		return list, ""
	}
	return text, ""
}
