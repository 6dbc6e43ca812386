package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/admit"
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

// OwnHeaders are the headers of requests that are perfgate's alone: an upstream gets those that
// perfgate sets, and none of the client's.
var OwnHeaders = []string{headerKeyID, headerAccount, headerKeyType, headerScopes, headerMaxCost}

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

// outgoing are the header fields of a request as its upstream gets them.
type outgoing struct{ h1.Fields }

// fill makes them of those that x's client has sent.
func (o *outgoing) fill(x *exchange) {
	peer := peerAddr(x.r)
	trusted := x.live.way.Trusts(peer)
	o.Reset()
	o.copy(x, trusted)
	o.setForwarded(x, peer, trusted)
	o.Set(fault.RequestIDHeader, x.id)
	o.setIdentity(&x.pass)
	x.lane.route.setHeaders(&o.Fields)
	o.Add("Via", x.proxy.via.of(x.r.Major)) // last: no route can hide a loop
}

// copy copies the client's fields that may reach an upstream.
func (o *outgoing) copy(x *exchange, trusted bool) {
	in := &x.r.Fields
	connection := in.Values("Connection")
	for name, value := range in.All() {
		if !x.passes(name, connection, trusted) {
			continue
		}
		if name == "Cookie" {
			if value = withoutOwnCookies(value); value == "" {
				continue
			}
		}
		o.Add(name, value)
	}
	if te := in.Values("Te"); te != nil && httpguts.HeaderValuesContainsToken(te, "trailers") {
		o.Add("Te", "trailers")
	}
	if protocols := upgradeOf(x.r); protocols != "" {
		o.Add("Connection", "Upgrade")
		o.Add("Upgrade", protocols)
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

// upgradeOf are the protocols that a request asks to switch to, as a list; "" if there is
// none. HTTP/2 is left out, and so is WebSocket with another method than GET (RFC 6455,
// section 4.1).
func upgradeOf(r *h1.Request) string {
	lines := r.Fields.Values("Upgrade")
	if len(lines) == 0 || !httpguts.HeaderValuesContainsToken(r.Fields.Values("Connection"), "Upgrade") {
		return ""
	}
	var pass []string
	for p := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		p = strings.Trim(p, " \t")
		name, _, _ := strings.Cut(p, "/") // the version
		if p != "" && !strings.EqualFold(name, "h2c") && (r.Method == http.MethodGet || !strings.EqualFold(name, "websocket")) {
			pass = append(pass, p)
		}
	}
	return strings.Join(pass, ", ")
}

// holdsKey reports whether a key of perfgate's own form stands anywhere in the
// values of a header: not only the credential, any copy of it is kept from
// upstreams.
func holdsKey(values []string) bool { return slices.ContainsFunc(values, apikey.Holds) }

// bodyDigests are the headers that sum up a body.
var bodyDigests = [...]string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"}

// setForwarded sets the headers with the origin of the request: the way that it came, and
// the scheme and host that a trusted peer saw. HTTP/1.0 may have no host.
func (o *outgoing) setForwarded(x *exchange, peer netip.Addr, trusted bool) {
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
	case peer.Is4() && x.r.Remote[0] != '[': // its text is a part of what it was parsed from
		forwardedFor, _, _ = strings.Cut(x.r.Remote, ":")
	case peer.IsValid():
		forwardedFor = peer.String()
	}
	if forwardedFor != "" {
		o.Set("X-Forwarded-For", forwardedFor)
	}
	o.Set("X-Forwarded-Proto", proto)
	if host != "" {
		o.Set("X-Forwarded-Host", host)
	}
}

// setIdentity sets the headers with the key that a request was admitted by.
func (o *outgoing) setIdentity(pass *admit.Pass) {
	rec := pass.Record
	if rec == nil {
		return
	}
	o.Add(headerKeyID, string(rec.ID))
	o.Add(headerKeyType, rec.Type.String())
	o.Add(headerScopes, rec.ScopeText())
	if pass.Account != nil {
		o.Add(headerAccount, string(pass.Account.ID))
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

// countryOf is the country that a trusted peer says the client is in; "" if none does. Two
// values are none: one of them may be the client's own.
func (l *live) countryOf(r *h1.Request) string {
	if l.country == "" || !l.way.Trusts(peerAddr(r)) {
		return ""
	}
	values := r.Fields.Values(l.country)
	if len(values) != 1 {
		return ""
	}
	return strings.TrimSpace(values[0])
}

// peerAddr is the TCP peer; invalid if it has no address.
func peerAddr(r *h1.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.Remote)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().WithZone("").Unmap()
}
