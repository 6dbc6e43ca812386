package proxy

import (
	"net/netip"
	"strings"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// claim is the kind of statement that a request header makes about the request's
// origin. Upstreams and their frameworks believe these headers, so only those
// reach them that admission believed.
type claim uint8

const (
	noClaim claim = iota
	// claimAddress names the client's address. It passes from a trusted peer if it
	// names the client that the request was judged by.
	claimAddress
	// claimOrigin names the user, the certificate, or the scheme, host or target
	// before a rewrite. It passes from a trusted peer.
	claimOrigin
	// claimReplaced is written again by setForwarded, or would contradict it.
	claimReplaced
)

// claims are the headers that make a claim, by canonical name.
var claims = map[string]claim{
	"Forwarded":       claimReplaced, // X-Forwarded-* say the same, and two accounts could differ
	"X-Forwarded-For": claimReplaced,

	"Akamai-Client-Ip":          claimAddress,
	"Ali-Cdn-Real-Ip":           claimAddress,
	"Cdn-Src-Ip":                claimAddress,
	"Client-Address":            claimAddress,
	"Cloudfront-Viewer-Address": claimAddress,
	"Do-Connecting-Ip":          claimAddress,
	"Incap-Client-Ip":           claimAddress,
	"Real-Ip":                   claimAddress,
	"X-Original-Ip":             claimAddress,
	"X-Proxymesh-Ip":            claimAddress,
	"X-Source-Ip":               claimAddress,
	"X-Sucuri-Clientip":         claimAddress,
	"X-User-Ip":                 claimAddress,
	"Cf-Connecting-Ip":          claimAddress,
	"Cf-Connecting-Ipv6":        claimAddress,
	"Cf-Pseudo-Ipv4":            claimAddress,
	"Client-Ip":                 claimAddress,
	"Fastly-Client-Ip":          claimAddress,
	"Fly-Client-Ip":             claimAddress,
	"Forwarded-For":             claimAddress,
	"Forwarded-For-Ip":          claimAddress,
	"Http-Client-Ip":            claimAddress,
	"Proxy-Client-Ip":           claimAddress,
	"Remote-Addr":               claimAddress,
	"True-Client-Ip":            claimAddress,
	"Wl-Proxy-Client-Ip":        claimAddress,
	"X-Appengine-Remote-Addr":   claimAddress,
	"X-Appengine-User-Ip":       claimAddress,
	"X-Azure-Clientip":          claimAddress,
	"X-Azure-Socketip":          claimAddress,
	"X-Client-Ip":               claimAddress,
	"X-Cluster-Client-Ip":       claimAddress,
	"X-Envoy-External-Address":  claimAddress,
	"X-Forward-For":             claimAddress,
	"X-Forwarded":               claimAddress,
	"X-Nf-Client-Connection-Ip": claimAddress,
	"X-Original-Forwarded-For":  claimAddress,
	"X-Original-Remote-Addr":    claimAddress,
	"X-Originating-Ip":          claimAddress,
	"X-Proxyuser-Ip":            claimAddress,
	"X-Real-Ip":                 claimAddress,
	"X-Remote-Addr":             claimAddress,
	"X-Remote-Ip":               claimAddress,
	"X-True-Client-Ip":          claimAddress,
	"X-Vercel-Forwarded-For":    claimAddress,

	"Cf-Visitor":               claimOrigin,
	"Front-End-Https":          claimOrigin,
	"Wl-Proxy-Ssl":             claimOrigin,
	"Remote-Email":             claimOrigin,
	"Remote-Groups":            claimOrigin,
	"Remote-Host":              claimOrigin,
	"Remote-Name":              claimOrigin,
	"Remote-User":              claimOrigin,
	"X-Arr-Clientcert":         claimOrigin,
	"X-Arr-Ssl":                claimOrigin,
	"X-Client-Dn":              claimOrigin,
	"X-Client-S-Dn":            claimOrigin,
	"X-Client-Port":            claimOrigin,
	"X-Client-Verify":          claimOrigin,
	"X-Client-Verified":        claimOrigin,
	"X-Host-Override":          claimOrigin,
	"X-Envoy-Original-Path":    claimOrigin,
	"X-Goog-Iap-Jwt-Assertion": claimOrigin,
	"X-Host":                   claimOrigin,
	"X-Http-Host-Override":     claimOrigin,
	"X-Original-Host":          claimOrigin,
	"X-Original-Uri":           claimOrigin,
	"X-Original-Url":           claimOrigin,
	"X-Proxy-User":             claimOrigin,
	"X-Rewrite-Url":            claimOrigin,
	"X-Scheme":                 claimOrigin,
	"X-Url-Scheme":             claimOrigin,
}

// claimPrefixes are families of headers with claimOrigin.
var claimPrefixes = [...]string{
	"X-Forwarded-", "X-Ssl-", "Ssl-Client-", "X-Tls-Client-", "X-Client-Cert", "X-Client-Ssl-", "X-Auth-Request-", "X-Auth-User",
	"Client-Cert", "Tls-Client-Cert", "Forwarded-", "Oidc-Claim-", "X-Authenticated-", "X-Consumer-", "X-Webauth-",
	"X-Remote-", "X-Ms-Client-Principal", "X-Amzn-Oidc-", "X-Amzn-Mtls-", "X-Goog-Authenticated-User-",
	"Cf-Access-", "Tailscale-User-", "X-Pomerium-", "X-Authentik-", "X-Vouch-",
}

// claimOf is the claim that the header name makes, which is canonical.
func claimOf(name string) claim {
	if c, ok := claims[name]; ok {
		return c
	}
	switch name[0] { // the first letters of the prefixes
	case 'X', 'S', 'C', 'T', 'F', 'O':
	default:
		return noClaim
	}
	for _, p := range claimPrefixes {
		if strings.HasPrefix(name, p) {
			return claimOrigin
		}
	}
	return noClaim
}

// mayClaim reports whether a header may reach the upstream for its claim about the
// request's origin; f are the fields that it stands in. clientHeader is the header that is configured to hold the
// client's address, client the address that the request was judged by.
func mayClaim(name string, f *h1.Fields, clientHeader string, client netip.Addr, trusted bool) bool {
	c := claimOf(name)
	if c == noClaim && name == clientHeader {
		c = claimAddress
	}
	switch c {
	case noClaim:
		return true
	case claimOrigin:
		return trusted
	case claimAddress:
		values := f.Values(name)
		if !trusted || len(values) != 1 {
			return false
		}
		a, ok := admit.ReadAddress(values[0])
		return ok && a == client
	}
	return false
}

// overridesMethod reports whether some frameworks take another method than the
// request's from the header name, which is canonical. Scopes, routes and a key's
// own limits on methods were judged by the request's.
func overridesMethod(name string) bool {
	switch name {
	case "X-Http-Method", "X-Method", "Http-Method", "X-Http-Override", "X-Http-Verb", "X-Rewrite-Method", "X-Original-Method",
		"X-Verb", "X-Override-Method", "X-Tunnel-Method", "X-Requested-Method", "X-Request-Method", "X-Real-Method":
		return true
	}
	return strings.Contains(name, "Method-Override") || strings.Contains(name, "Methodoverride") || strings.Contains(name, "Overridemethod") || strings.Contains(name, "Verb-Override")
}

// dropsMethod reports whether the header name overrides the method and the route
// does not allow it.
func (r *route) dropsMethod(name string) bool {
	if !overridesMethod(name) {
		return false
	}
	for _, allowed := range r.overrides {
		if allowed == name {
			return false
		}
	}
	return true
}
