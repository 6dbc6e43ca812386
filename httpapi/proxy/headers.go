package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// The headers that tell an upstream who is calling.
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
// credential, what perfgate vouches for, and names with underscores, which CGI and
// its descendants cannot tell from dashes (X_Perf_Account).
func dropped(name, keyHeader string) bool {
	return name == "Authorization" || name == keyHeader || isIdentity(name) || strings.IndexByte(name, '_') >= 0
}

// forwarding reports whether a header claims where a request came from, or what
// was asked for before a rewrite, which some frameworks route by. From a peer
// that is not trusted none passes: another path was judged.
func forwarding(name string) bool {
	return hasPrefixFold(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip" ||
		name == "X-Original-Url" || name == "X-Rewrite-Url"
}

// methodOverrides are the headers by which some frameworks take another method
// than the request's. Scopes and routes were judged by that one: the headers pass
// only where the judgement covers whatever they say, with a method that needs
// the scope write, on a route that takes all methods.
var methodOverrides = [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

func (r *route) bindsMethod(method string) bool {
	return len(r.methods) > 0 || method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// setHeaders makes out's headers, from which hop-by-hop headers and all that
// Connection named are gone already, those that x's upstream gets.
func (x *exchange) setHeaders(out *http.Request) {
	h, route := out.Header, x.lane.route
	peer := peerAddr(x.r)
	trusted := x.live.trusts(peer)
	for name := range h {
		if dropped(name, x.live.keyHeader) || !trusted && forwarding(name) {
			delete(h, name)
		}
	}
	if route.bindsMethod(x.r.Method) {
		for _, name := range methodOverrides {
			delete(h, name)
		}
	}
	delete(h, "Forwarded") // X-Forwarded-* say the same, and two accounts could differ
	if strings.EqualFold(h.Get("Upgrade"), "h2c") {
		h.Del("Upgrade")
		h.Del("Connection")
	}
	h.Del("Http2-Settings")
	if x.buffered != nil {
		h.Del("Expect") // it has been met: the body is here
	}
	if x.changed {
		for _, name := range []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
			h.Del(name)
		}
	}

	forwardedFor, proto, host := "", "http", x.r.Host
	if peer.IsValid() {
		forwardedFor = peer.String()
	}
	if x.r.TLS != nil {
		proto = "https"
	}
	if trusted {
		if prior := x.r.Header["X-Forwarded-For"]; len(prior) > 0 {
			forwardedFor = strings.Join(append(slices.Clone(prior), forwardedFor), ", ")
		}
		// The outermost hop that is trusted knows best what the client used.
		if v := x.r.Header.Get("X-Forwarded-Proto"); v != "" {
			proto = v
		}
		if v := x.r.Header.Get("X-Forwarded-Host"); v != "" {
			host = v
		}
	}
	if forwardedFor != "" {
		h.Set("X-Forwarded-For", forwardedFor)
	}
	h.Set("X-Forwarded-Proto", proto)
	h.Set("X-Forwarded-Host", host)

	h.Set(fault.RequestIDHeader, x.id)
	if rec := x.pass.Record; rec != nil {
		h.Set(headerKeyID, string(rec.ID))
		h.Set(headerKeyType, rec.Type.String())
		h.Set(headerScopes, strings.Join(rec.ScopeNames(), " "))
		if x.pass.Account != nil {
			h.Set(headerAccount, string(x.pass.Account.ID))
		}
	}
	for _, rule := range route.headers {
		if rule.value == "" {
			h.Del(rule.name)
		} else {
			h.Set(rule.name, rule.value)
		}
	}
	switch {
	case route.hostRule != "":
		out.Host = route.hostRule
	case !route.preserveHost:
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

// shadowed are the response headers that perfgate itself sets; an upstream's own
// of these names are renamed "X-Upstream-…". Canonical names.
var shadowed = [...]struct{ name, renamed string }{
	{"X-Ratelimit-Limit", "X-Upstream-Ratelimit-Limit"},
	{"X-Ratelimit-Remaining", "X-Upstream-Ratelimit-Remaining"},
	{"X-Ratelimit-Reset", "X-Upstream-Ratelimit-Reset"},
	{"Ratelimit", "X-Upstream-Ratelimit"},
	{"Ratelimit-Policy", "X-Upstream-Ratelimit-Policy"},
	{"X-Request-Id", "X-Upstream-Request-Id"},
}

// editResponse makes an upstream's response headers fit for the client.
func (x *exchange) editResponse(res *http.Response, u *url.URL) {
	h := res.Header
	for _, s := range shadowed {
		if v, ok := h[s.name]; ok {
			delete(h, s.name)
			if s.name != fault.RequestIDHeader || len(v) != 1 || v[0] != x.id {
				h[s.renamed] = v
			}
		}
	}
	if len(res.Trailer) > 0 && x.r.ProtoMajor == 1 && x.r.Method != http.MethodHead {
		h.Del("Content-Length") // HTTP/2 has both; in HTTP/1.1 trailers need chunks
	}
	h.Del("Alt-Svc") // it advertises what the upstream serves, at this server's name
	for _, name := range []string{"Location", "Content-Location"} {
		if v := h.Get(name); v != "" {
			h.Set(name, x.outerURL(v, u))
		}
	}
}

// outerURL turns an absolute URL at the upstream into a path that the client
// can ask this proxy for. Others are left alone.
func (x *exchange) outerURL(location string, u *url.URL) string {
	loc, err := url.Parse(location)
	if err != nil || !strings.EqualFold(loc.Host, u.Host) || loc.Host == "" || loc.Host == x.r.Host {
		return location
	}
	path := loc.EscapedPath()
	if base := strings.TrimSuffix(u.EscapedPath(), "/"); base != "" {
		rest, ok := strings.CutPrefix(path, base)
		if !ok || rest != "" && rest[0] != '/' {
			rest = path // outside of what this route serves
		}
		path = rest
	}
	path = strings.TrimSuffix(x.lane.route.strip, "/") + "/" + strings.TrimLeft(path, "/")
	if loc.RawQuery != "" || loc.ForceQuery {
		path += "?" + loc.RawQuery
	}
	if loc.Fragment != "" {
		path += "#" + loc.EscapedFragment()
	}
	return path
}
