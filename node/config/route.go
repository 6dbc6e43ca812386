package config

import "time"

// Route is one [[proxy.routes]] of the file. [Load] checks the names and the types
// of its keys. The meaning of the values is documented and checked in package
// proxy, whose Route has the same fields.
type Route struct {
	Path              string            `koanf:"path"`
	Host              string            `koanf:"host"`
	Methods           []string          `koanf:"methods"`
	Upstreams         []string          `koanf:"upstreams"`
	UpstreamTLS       UpstreamTLS       `koanf:"upstream_tls"`
	Require           []string          `koanf:"require"`
	Public            bool              `koanf:"public"`
	Preflight         string            `koanf:"preflight"`
	StripPrefix       string            `koanf:"strip_prefix"`
	PreserveHost      bool              `koanf:"preserve_host"`
	Headers           map[string]string `koanf:"headers"`
	Timeouts          Timeouts          `koanf:"timeouts"`
	MaxBody           string            `koanf:"max_body"`
	Retries           *int              `koanf:"retries"` // nil takes the default
	Units             *int64            `koanf:"units"`   // nil takes the default
	Cost              any               `koanf:"cost"`    // string, int64 or float64; nil is none
	MaxCostPerCall    any               `koanf:"max_cost_per_call"`
	AllowEncodedSlash bool              `koanf:"allow_encoded_slash"`

	AllowMethodOverride []string `koanf:"allow_method_override"`
	PassAuthorization   bool     `koanf:"pass_authorization"`
}

// UpstreamTLS names the files for TLS with a route's upstreams.
type UpstreamTLS struct {
	CAFile     string `koanf:"ca_file"`
	CertFile   string `koanf:"cert_file"`
	KeyFile    string `koanf:"key_file"`
	ServerName string `koanf:"server_name"`
}

// Timeouts of a route; zero takes the default.
type Timeouts struct {
	Connect        time.Duration `koanf:"connect"`
	ResponseHeader time.Duration `koanf:"response_header"`
	Idle           time.Duration `koanf:"idle"`
	Total          time.Duration `koanf:"total"`
}
