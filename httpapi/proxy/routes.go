package proxy

import (
	"time"

	"github.com/perfgate/perfgate/httpapi/pattern"
)

// Route is one [[proxy.routes]] of the configuration.
type Route struct {
	// Path is the pattern of the paths served; see package pattern. It is also the
	// route's name: in a key's routes, in usage, in the audit log.
	Path string
	// Host is exact or "*.example.com" (one label or more); "" is any. A
	// request's port does not matter.
	Host string
	// Methods are the methods taken; none listed means all. GET implies HEAD.
	Methods []string
	// Upstreams are base URLs: http, https (HTTP/2 where offered) or h2c (HTTP/2 in
	// the clear). Requests go to the one with the fewest under way.
	Upstreams []string
	// UpstreamTLS is for https upstreams.
	UpstreamTLS UpstreamTLS
	// Require lists custom scopes that a key must have, all of them.
	Require []string
	// Public routes ask for no key.
	Public bool
	// Preflight of a browser (CORS): "pass" lets it through to the upstream without
	// a key, "deny" (the default) treats it like any request.
	Preflight string
	// StripPrefix is cut off the path before the upstream's own base path is put in front.
	StripPrefix string
	// PreserveHost sends the client's Host instead of the upstream's.
	PreserveHost bool
	// Headers are set on the upstream's request; ${NAME} is an environment
	// variable, which must exist. An empty value removes the header.
	Headers map[string]string
	// Timeouts that are zero take their default.
	Timeouts Timeouts
	// MaxBody bounds a request's body ("64MiB"); "" does not.
	MaxBody string
	// Retries is how many times an idempotent request of which no body byte was
	// read is sent again after a failed connection; nil is 1.
	Retries *int
	// Units are charged to the limits by one request; nil is 1.
	Units *int64
	// Cost is money per request: a number (0.002, or "0.002"), or "header:X-Cost" for
	// the response header with the amount. nil is nothing.
	Cost any
	// MaxCostPerCall bounds the member max_cost_per_call of JSON bodies, in addition
	// to the key's own bound; a number, or a number in quotes. nil does not.
	MaxCostPerCall any
	// AllowMethodOverride lists the headers by which a request may ask the upstream
	// for another method than its own ("X-HTTP-Method-Override"). Others of this kind
	// are dropped. The upstream must judge such requests itself.
	AllowMethodOverride []string
	// PassAuthorization leaves Authorization to the upstream where the key came in
	// the key header.
	PassAuthorization bool
	// AllowEncodedSlash lets %2F pass in the path.
	AllowEncodedSlash bool
}

// CatchAll reports whether r takes every request that no other route does.
func (r *Route) CatchAll() bool {
	p, err := pattern.Parse(r.Path)
	return err == nil && p.Paths() == everything && r.Host == "" && len(r.Methods) == 0 && p.Method() == ""
}

var all = pattern.Compile("/")

// everything identifies the paths of a catch-all.
var everything = all.Paths()

// Timeouts of a route.
type Timeouts struct {
	Connect        time.Duration // TCP, and again TLS
	ResponseHeader time.Duration // from the request's last byte to the response's head
	Idle           time.Duration // without a byte either way, before or after the response's head
	Total          time.Duration // of everything, streams and tunnels too; 0 is none
}

// defaultTimeouts apply where a route says nothing. Responses of language models
// take minutes.
var defaultTimeouts = Timeouts{Connect: 5 * time.Second, ResponseHeader: 10 * time.Minute, Idle: 5 * time.Minute}

// Bounds of a table, far beyond real configurations.
const (
	maxRoutes    = 1000
	maxUpstreams = 100 // a route
	maxRetries   = 10
	maxMaxBody   = 1 << 50 // bytes
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
