package proxy

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// The headers that identify the caller to an upstream.
const (
	headerKeyID   = "X-Perf-Key-Id"
	headerAccount = "X-Perf-Account"
	headerKeyType = "X-Perf-Key-Type"
	headerScopes  = "X-Perf-Scopes"
)

// isIdentity reports whether a header is one that only perfgate sets.
func isIdentity(name string) bool { return hasPrefixFold(name, "X-Perf-") }

// hasPrefixFold ignores the case of ASCII.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// dropped reports whether a client's header never reaches an upstream: its
// credential, headers that perfgate itself sets, and names with underscores,
// which CGI and its descendants do not distinguish from dashes (X_Perf_Account).
func dropped(name, keyHeader string) bool {
	return name == "Authorization" || name == keyHeader || isIdentity(name) || strings.IndexByte(name, '_') >= 0
}

// makeHead makes x.out, the header fields that x's upstream gets, of those that the client
// has sent.
func (x *exchange) makeHead() {
	peer := peerAddr(x.r)
	trusted := x.live.way.Trusts(peer)
	x.out.Reset()
	x.copyFields(trusted)
	x.setForwarded(peer, trusted)
	x.out.Set(fault.RequestIDHeader, x.id)
	x.setIdentity()
	x.lane.route.setHeaders(&x.out)
	x.out.Add("Via", x.proxy.via.of(x.r.Major)) // last: no route can hide a loop
}

// copyFields copies the client's fields that may reach an upstream.
func (x *exchange) copyFields(trusted bool) {
	in := &x.r.Fields
	connection := in.Values("Connection")
	for name, value := range in.All() {
		if x.passes(name, connection, trusted) {
			x.out.Add(name, value)
		}
	}
	for _, v := range in.Values("Te") {
		if httpguts.HeaderValuesContainsToken([]string{v}, "trailers") {
			x.out.Set("Te", "trailers")
		}
	}
	if protocol := upgradeOf(in); protocol != "" {
		x.out.Add("Connection", "Upgrade")
		x.out.Add("Upgrade", protocol)
	}
}

// passes reports whether a field of the client's, which has these lines of Connection, may
// reach an upstream.
func (x *exchange) passes(name string, connection []string, trusted bool) bool {
	in := &x.r.Fields
	switch {
	case isHop(name), len(connection) > 0 && httpguts.HeaderValuesContainsToken(connection, name),
		dropped(name, x.live.keyHeader) && !(x.pass.UpstreamsOwn && name == "Authorization"),
		!mayClaim(name, in, x.live.way.Header(), x.client, trusted),
		x.lane.route.dropsMethod(name),
		name == "Http2-Settings", name == "Host", name == fault.RequestIDHeader,
		x.buffered != nil && name == "Expect", // it has been met: the body is here
		x.changed && slices.Contains(bodyDigests[:], name):
		return false
	}
	// Not only the credential, any copy of a key is kept from upstreams.
	return !holdsKey(in.Values(name))
}

// isHop reports whether a field is about one connection only (RFC 9110, section 7.6.1).
func isHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// upgradeOf is the protocol that a request asks for, in which anything may follow; "" if
// it asks for none. HTTP/2 is none: its Upgrade is dropped.
func upgradeOf(f *h1.Fields) string {
	protocol := f.Get("Upgrade")
	if protocol == "" || !httpguts.HeaderValuesContainsToken(f.Values("Connection"), "Upgrade") || strings.EqualFold(protocol, "h2c") {
		return ""
	}
	return protocol
}

// holdsKey reports whether a key of perfgate's own form stands anywhere in the
// values of a header: not only the credential, any copy of it is kept from
// upstreams.
func holdsKey(values []string) bool { return slices.ContainsFunc(values, apikey.Holds) }

// bodyDigests are the headers that sum up a body.
var bodyDigests = [...]string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"}

// setForwarded sets the headers with the origin of the request: the client that it
// was judged by, with the hops that reported it, and the scheme and host that a
// trusted peer saw.
func (x *exchange) setForwarded(peer netip.Addr, trusted bool) {
	forwardedFor, proto, host := "", "http", x.r.Host
	if x.r.Secure {
		proto = "https"
	}
	switch {
	case trusted:
		forwardedFor = x.live.way.Chain(x.r)
		// The outermost trusted hop has seen the scheme and host that the client used.
		if v := x.r.Fields.Get("X-Forwarded-Proto"); v != "" && !apikey.Holds(v) {
			proto = v
		}
		if v := x.r.Fields.Get("X-Forwarded-Host"); v != "" && !apikey.Holds(v) {
			host = v
		}
	case peer.IsValid():
		forwardedFor = peer.String()
	}
	if forwardedFor != "" {
		x.out.Set("X-Forwarded-For", forwardedFor)
	}
	x.out.Set("X-Forwarded-Proto", proto)
	x.out.Set("X-Forwarded-Host", host)
}

// setIdentity sets the headers with the key that a request was admitted by.
func (x *exchange) setIdentity() {
	rec := x.pass.Record
	if rec == nil {
		return
	}
	x.out.Add(headerKeyID, string(rec.ID))
	x.out.Add(headerKeyType, rec.Type.String())
	x.out.Add(headerScopes, strings.Join(rec.ScopeNames(), " "))
	if x.pass.Account != nil {
		x.out.Add(headerAccount, string(x.pass.Account.ID))
	}
}

// setHeaders applies the header rules of the route.
func (r *route) setHeaders(out *h1.Fields) {
	for _, rule := range r.headers {
		if rule.value == "" {
			out.Del(rule.name)
		} else {
			out.Set(rule.name, rule.value)
		}
	}
}

// hostFor is the value of Host for the upstream u.
func (x *exchange) hostFor(u *upstream) string {
	switch r := x.lane.route; {
	case r.hostRule != "":
		return r.hostRule
	case r.preserveHost && x.r.Host != "":
		return x.r.Host
	}
	return u.host
}

// peerAddr is the TCP peer; invalid if it has no address.
func peerAddr(r *h1.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.Remote)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().WithZone("").Unmap()
}
