package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/proxy"
)

// RunsDemo tells whether the demo runs: when asked for, and while nothing is
// routed.
func (c *Config) RunsDemo() bool {
	return c.Proxy.Demo || c.Proxy.Upstream == "" && len(c.Proxy.Routes) == 0
}

// Routes compiles what the configuration routes: its tables, then upstream as
// the catch-all. demo is the URL of the built-in echo upstream, or ""; it gets
// what nothing else serves. Errors are [*UsageError]s, one for each mistake.
func (c *Config) Routes(demo string) (*proxy.Table, error) {
	routes := slices.Clone(c.Proxy.Routes)
	rest := c.Proxy.Upstream
	if rest == "" && !slices.ContainsFunc(routes, catchAll) {
		rest = demo
	}
	if rest != "" {
		routes = append(routes, proxy.Route{Path: "/", Upstreams: []string{rest}})
	}
	table, err := proxy.Compile(routes, c.source.env)
	if err != nil {
		return nil, c.routeFaults(err)
	}
	return table, nil
}

func catchAll(r proxy.Route) bool {
	return r.Path == "/" && r.Host == "" && len(r.Methods) == 0
}

// routeFaults turns what the proxy says about routes into usage errors that name
// the source.
func (c *Config) routeFaults(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, c.routeFaults(e))
		}
		return errors.Join(out...)
	}
	var f *proxy.FieldError
	if !errors.As(err, &f) {
		return &UsageError{Source: c.source.of["proxy.routes"], Key: "proxy.routes", Want: err.Error()}
	}
	e := &UsageError{Source: c.source.of["proxy.routes"], Key: f.Key, Value: show(f.Value), Want: f.Reason}
	if strings.Contains(f.Key, "].headers.") {
		e.Value = "" // upstream's own credential stands there
	}
	if strings.HasPrefix(f.Key, fmt.Sprintf("proxy.routes[%d].", len(c.Proxy.Routes))) {
		e.Source, e.Key = c.source.of["proxy.upstream"], "proxy.upstream"
		if strings.Contains(f.Value, "://") {
			e.Value = show(redact(f.Value))
		}
	}
	return e
}
