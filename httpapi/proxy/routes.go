package proxy

import "time"

// Route is one [[proxy.routes]] of the configuration.
type Route struct {
	// Path is what the route serves; see the table in pattern.go. It is also the
	// route's name: in a key's routes, in usage, in the audit log.
	Path string `koanf:"path"`
	// Host is exact or "*.example.com" (one label or more); "" is any. A
	// request's port does not matter.
	Host string `koanf:"host"`
	// Methods are the methods taken; none listed means all. GET implies HEAD.
	Methods []string `koanf:"methods"`
	// Upstreams are base URLs: http, https (HTTP/2 where offered) or h2c (HTTP/2 in
	// the clear). Requests go to the one with the fewest under way.
	Upstreams []string `koanf:"upstreams"`
	// Require lists custom scopes that a key must have, all of them.
	Require []string `koanf:"require"`
	// Public routes ask for no key.
	Public bool `koanf:"public"`
	// Preflight of a browser (CORS): "pass" lets it through to the upstream without
	// a key, "deny" (the default) treats it like any request.
	Preflight string `koanf:"preflight"`
	// StripPrefix is cut off the path before the upstream's own base path is put in front.
	StripPrefix string `koanf:"strip_prefix"`
	// PreserveHost sends the client's Host instead of the upstream's.
	PreserveHost bool `koanf:"preserve_host"`
	// Headers are set on the upstream's request; ${NAME} is an environment
	// variable, which must exist. An empty value removes the header.
	Headers map[string]string `koanf:"headers"`
	// Timeouts that are zero take their default.
	Timeouts Timeouts `koanf:"timeouts"`
	// MaxBody bounds a request's body ("64MiB"); "" does not.
	MaxBody string `koanf:"max_body"`
	// Retries is how many times an idempotent request of which no body byte was
	// read is sent again after a failed connection; nil is 1.
	Retries *int `koanf:"retries"`
	// Units are what one request costs of the limits; nil is 1.
	Units *int64 `koanf:"units"`
	// Cost is money per request: a number (0.002, or "0.002"), or
	// "header:X-Cost" for the response header that tells it. nil is nothing.
	Cost any `koanf:"cost"`
	// MaxCostPerCall bounds the member max_cost_per_call of JSON bodies, besides
	// the key's own; a number, or a number in quotes. nil does not.
	MaxCostPerCall any `koanf:"max_cost_per_call"`
	// AllowEncodedSlash lets %2F pass in the path.
	AllowEncodedSlash bool `koanf:"allow_encoded_slash"`
}

// Timeouts of a route.
type Timeouts struct {
	Connect        time.Duration `koanf:"connect"`         // TCP, and again TLS
	ResponseHeader time.Duration `koanf:"response_header"` // from the request's last byte to the response's head
	Idle           time.Duration `koanf:"idle"`            // without a byte either way, before or after the response's head
	Total          time.Duration `koanf:"total"`           // of everything, streams and tunnels too; 0 is none
}

// defaultTimeouts apply where a route says nothing.
var defaultTimeouts = Timeouts{Connect: 5 * time.Second, ResponseHeader: time.Minute, Idle: 5 * time.Minute}

// Bounds of a table, far beyond what people configure.
const (
	maxRoutes    = 1000
	maxUpstreams = 100 // a route
	maxRetries   = 10
)

// FieldError is one mistake in the routes of a configuration.
type FieldError struct {
	Key    string // "proxy.routes[2].upstreams[0]"
	Value  string
	Reason string
}

func (e *FieldError) Error() string {
	return e.Key + ` = "` + e.Value + `": ` + e.Reason
}
