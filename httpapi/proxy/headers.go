package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
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

// setHeaders turns the headers of out, from which hop-by-hop headers and all
// that Connection named are gone already, into those that x's upstream gets.
func (x *exchange) setHeaders(out *http.Request) {
	h, peer := out.Header, peerAddr(x.r)
	trusted := x.live.way.Trusts(peer)
	x.dropHeaders(h, trusted)
	x.setForwarded(h, peer, trusted)
	h.Set(fault.RequestIDHeader, x.id)
	setIdentity(h, &x.pass)
	x.lane.route.setHeaders(out)
	x.proxy.via.add(h, x.r.ProtoMajor) // last: no route can hide a loop
}

// dropHeaders removes the client's headers that must not reach an upstream.
func (x *exchange) dropHeaders(h http.Header, trusted bool) {
	for name, values := range h {
		if dropped(name, x.live.keyHeader) && !(x.pass.UpstreamsOwn && name == "Authorization") || !mayClaim(name, values, x.live.way.Header(), x.client, trusted) || x.lane.route.dropsMethod(name) || holdsKey(values) {
			delete(h, name)
		}
	}
	if strings.EqualFold(h.Get("Upgrade"), "h2c") {
		h.Del("Upgrade")
		h.Del("Connection")
	}
	h.Del("Http2-Settings")
	if x.buffered != nil {
		h.Del("Expect") // it has been met: the body is here
	}
	if x.changed {
		for _, name := range bodyDigests {
			h.Del(name)
		}
	}
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
func (x *exchange) setForwarded(h http.Header, peer netip.Addr, trusted bool) {
	forwardedFor, proto, host := "", "http", x.r.Host
	if x.r.TLS != nil {
		proto = "https"
	}
	switch {
	case trusted:
		forwardedFor = x.live.way.Chain(x.r)
		// The outermost trusted hop has seen the scheme and host that the client used.
		if v := x.r.Header.Get("X-Forwarded-Proto"); v != "" && !apikey.Holds(v) {
			proto = v
		}
		if v := x.r.Header.Get("X-Forwarded-Host"); v != "" && !apikey.Holds(v) {
			host = v
		}
	case peer.IsValid():
		forwardedFor = peer.String()
	}
	if forwardedFor != "" {
		h.Set("X-Forwarded-For", forwardedFor)
	}
	h.Set("X-Forwarded-Proto", proto)
	h.Set("X-Forwarded-Host", host)
}

// setIdentity sets the headers with the key that a request was admitted by.
func setIdentity(h http.Header, pass *admit.Pass) {
	rec := pass.Record
	if rec == nil {
		return
	}
	h.Set(headerKeyID, string(rec.ID))
	h.Set(headerKeyType, rec.Type.String())
	h.Set(headerScopes, strings.Join(rec.ScopeNames(), " "))
	if pass.Account != nil {
		h.Set(headerAccount, string(pass.Account.ID))
	}
}

// setHeaders applies the header rules of the route.
func (r *route) setHeaders(out *http.Request) {
	for _, rule := range r.headers {
		if rule.value == "" {
			out.Header.Del(rule.name)
		} else {
			out.Header.Set(rule.name, rule.value)
		}
	}
	switch {
	case r.hostRule != "":
		out.Host = r.hostRule
	case !r.preserveHost:
		out.Host = "" // the upstream's own
	}
}

// peerAddr is the TCP peer; invalid if it has no address.
func peerAddr(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(host)
	return a.WithZone("").Unmap()
}
