package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Ranges with fewer bits than these are no one's own network.
const (
	broadV4 = 8
	broadV6 = 16
)

// Warnings are settings of c with which a node runs at now and which are a mistake
// more often than not, each a [*UsageError].
func (c *Config) Warnings(now time.Time) (out []error) {
	if n := c.Cluster.Expect; n > 1 && n%2 == 0 {
		out = append(out, c.Fault("cluster.expect", fmt.Sprintf("%d nodes bear no more failures than %d, for a majority of them must be in contact; take an odd number", n, n-1)))
	}
	if !strings.EqualFold(c.Proxy.ClientIPHeader, "X-Forwarded-For") && len(c.Proxy.TrustedProxies)+len(c.Admin.TrustedProxies) == 0 {
		out = append(out, c.Fault("proxy.client_ip_header", "is read from no one, because proxy.trusted_proxies is empty"))
	}
	if end := c.SecurityTxt.Expires; !end.IsZero() && end.Before(now) {
		out = append(out, c.Fault("security_txt.expires", "has passed, so the page is not served"))
	}
	for key, list := range map[string][]netip.Prefix{"proxy.trusted_proxies": c.Proxy.TrustedProxies, "admin.trusted_proxies": c.Admin.TrustedProxies, "doors.forward_auth_from": c.Doors.ForwardAuthFrom} {
		for i, p := range list {
			if p.Bits() < broadV4 || p.Addr().Is6() && p.Bits() < broadV6 {
				out = append(out, c.FaultAt(key, fmt.Sprintf("%s[%d]", key, i), p.String(),
					"trusts everybody in this range to state any client address, so allowlists and the bound on failures protect nothing; list the proxies' own addresses"))
			}
		}
	}
	if addr := c.Doors.GRPCListen; addr != "" && !Loopback(addr) && len(c.Doors.ForwardAuthFrom) == 0 {
		out = append(out, c.Fault("doors.grpc_listen", "answers this machine alone, because doors.forward_auth_from lists no proxy"))
	}
	for i, r := range c.Proxy.Routes {
		for name, value := range r.Headers {
			if v := bareVariable.FindString(value); v != "" && !strings.Contains(value, "${") {
				out = append(out, c.FaultAt(routesKey, fmt.Sprintf("%s[%d].headers.%s", routesKey, i, name), "",
					fmt.Sprintf("%s is sent as it stands; write ${%s} for the environment variable", v, v[1:])))
			}
		}
		for j, u := range r.Upstreams {
			if slices.Contains(r.Upstreams[:j], u) {
				out = append(out, c.FaultAt(routesKey, fmt.Sprintf("%s[%d].upstreams[%d]", routesKey, i, j), u, "is listed twice; once is enough"))
			}
		}
	}
	slices.SortFunc(out, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return out
}

// bareVariable matches a variable as a shell would read it.
var bareVariable = regexp.MustCompile(`\$[A-Z][A-Z0-9_]{2,}`)
