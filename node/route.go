package node

import "time"

// Route is one [[proxy.routes]] table of the file.
type Route struct {
	Path              string            `koanf:"path"`
	Host              string            `koanf:"host"`
	Methods           []string          `koanf:"methods"`
	Upstreams         []string          `koanf:"upstreams"`
	Require           []string          `koanf:"require"`
	Public            bool              `koanf:"public"`
	Preflight         string            `koanf:"preflight"`
	StripPrefix       string            `koanf:"strip_prefix"`
	Headers           map[string]string `koanf:"headers"`
	Timeout           time.Duration     `koanf:"timeout"`
	MaxBody           Size              `koanf:"max_body"`
	Retries           int               `koanf:"retries"`
	Units             int64             `koanf:"units"`
	AllowEncodedSlash bool              `koanf:"allow_encoded_slash"`
}
