package node

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/node/config"
)

// compileRoutes compiles the routes of c: its tables, then proxy.upstream as the
// catch-all. demo is the URL of the built-in echo upstream, or ""; it gets the
// requests that no other route serves. Errors are [*config.UsageError]s, one for
// each mistake.
func compileRoutes(c *config.Config, demo string) (*proxy.Table, error) {
	var routes []proxy.Route
	for i := range c.Proxy.Routes {
		routes = append(routes, proxyRoute(&c.Proxy.Routes[i]))
	}
	rest := c.Proxy.Upstream
	if rest == "" && !slices.ContainsFunc(routes, func(r proxy.Route) bool { return r.CatchAll() }) {
		rest = demo
	}
	if rest != "" {
		routes = append(routes, proxy.Route{Path: "/", Upstreams: []string{rest}})
	}
	table, err := proxy.Compile(routes, c.Getenv)
	if err != nil {
		return nil, routeFaults(c, err)
	}
	return table, nil
}

// proxyRoute is r as the proxy takes it.
func proxyRoute(r *config.Route) proxy.Route {
	return proxy.Route{
		Path: r.Path, Host: r.Host, Methods: r.Methods, Upstreams: r.Upstreams, UpstreamTLS: proxy.UpstreamTLS(r.UpstreamTLS), Require: r.Require, Public: r.Public,
		Preflight: r.Preflight, StripPrefix: r.StripPrefix, PreserveHost: r.PreserveHost, Headers: r.Headers,
		Timeouts: proxy.Timeouts(r.Timeouts), MaxBody: r.MaxBody, Retries: r.Retries, Units: r.Units,
		Cost: r.Cost, MaxCostPerCall: r.MaxCostPerCall, AllowEncodedSlash: r.AllowEncodedSlash,
		AllowMethodOverride: r.AllowMethodOverride, PassAuthorization: r.PassAuthorization,
	}
}

// routeFaults turns the proxy's errors about routes into usage errors that name
// the source.
func routeFaults(c *config.Config, err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, routeFaults(c, e))
		}
		return errors.Join(out...)
	}
	var f *proxy.FieldError
	if !errors.As(err, &f) {
		return c.FaultAt("proxy.routes", "proxy.routes", "", err.Error())
	}
	// The last route may be proxy.upstream, which has no table of its own.
	if strings.HasPrefix(f.Key, fmt.Sprintf("proxy.routes[%d].", len(c.Proxy.Routes))) {
		value := f.Value
		if strings.Contains(value, "://") {
			value = redact(value)
		}
		return c.FaultAt("proxy.upstream", "proxy.upstream", value, f.Reason)
	}
	value := f.Value
	if strings.Contains(f.Key, "].headers.") {
		value = "" // it may hold the upstream's credential
	}
	if c.Faulty(f.Key) {
		return nil // the value is missing because of another fault
	}
	return c.FaultAt("proxy.routes", f.Key, value, f.Reason)
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
