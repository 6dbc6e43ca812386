package node

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/node/config"
)

// warnings are the settings of c that are a mistake more often than not, of the
// values, of the files, of the upstreams and of the routes.
func warnings(c *config.Config) []error {
	out := append(c.Warnings(time.Now()), exposed(c)...)
	all := upstreams(c)
	var m machine
	if len(all) > 0 {
		m = thisMachine(all)
	}
	for _, up := range all {
		for _, own := range []struct{ key, listen, effect string }{
			{"proxy.listen", c.Proxy.Listen, "requests would go round in circles"},
			{"admin.listen", c.Admin.Listen, "clients of the proxy would reach the management API"},
			{"cluster.listen", c.Cluster.Listen, "it does not serve HTTP to others"},
			{"doors.grpc_listen", c.Doors.GRPCListen, "it decides about requests and forwards none"},
		} {
			if own.listen != "" && m.reaches(up.url, own.listen) {
				out = append(out, c.FaultAt(up.key, up.place, up.url.Redacted(), fmt.Sprintf("this is %s of this node itself: %s", own.key, own.effect)))
			}
		}
	}
	return append(out, routeWarnings(c)...)
}

// routeWarnings are those of the routes of c, if they compile.
func routeWarnings(c *config.Config) (out []error) {
	table, err := compileRoutes(c, "")
	if err != nil {
		return nil
	}
	for _, w := range table.Warnings() {
		out = append(out, routeFaults(c, w))
	}
	return out
}

// upstream is a configured upstream, with its place in the configuration.
type upstream struct {
	key, place string
	url        *url.URL
	tls        config.UpstreamTLS
}

// upstreams lists the upstreams of c that are URLs.
func upstreams(c *config.Config) (out []upstream) {
	add := func(key, place, text string, tls config.UpstreamTLS) {
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			out = append(out, upstream{key, place, u, tls})
		}
	}
	for i, r := range c.Proxy.Routes {
		for j, text := range r.Upstreams {
			add("proxy.routes", fmt.Sprintf("proxy.routes[%d].upstreams[%d]", i, j), text, r.UpstreamTLS)
		}
	}
	add("proxy.upstream", "proxy.upstream", c.Proxy.Upstream, config.UpstreamTLS{})
	return out
}

// port is the port that u is dialed at.
func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// shadow are the calls that perfgate answers itself on the proxy listener although
// a route covers them.
type shadow struct {
	paths string // "GET /v1/keys, …"; "" for none
	named bool   // a route other than a catch-all covers them
}

// kind is "warning" where a route was made for such paths, and "note" where they are
// only among all paths.
func (s shadow) kind() string {
	if s.named {
		return "warning"
	}
	return "note"
}

func (s shadow) String() string {
	return "perfgate answers these calls on the proxy listener itself, although a route covers them; proxy.self_service = false gives all but the pages to the routes"
}

// ownPaths finds the calls that the routes of c cover and do not get.
func ownPaths(c *config.Config) (s shadow) {
	table, err := compileRoutes(c, "")
	if err != nil || table.Len() == 0 {
		return s
	}
	var pairs []string
	for _, own := range httpapi.OnProxy(c.Proxy.SelfService) {
		covering := table.Covering(own.Method, own.Path)
		if len(covering) == 0 {
			continue
		}
		pairs = append(pairs, own.Method+" "+own.Path)
		s.named = s.named || slices.ContainsFunc(covering, func(route string) bool {
			return !(&proxy.Route{Path: route}).CatchAll()
		})
	}
	s.paths = strings.Join(pairs, ", ")
	return s
}
