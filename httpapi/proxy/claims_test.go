package proxy

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/admit"
)

// claimNames are headers that upstreams believe about a request's origin, in
// spellings of clients.
var claimNames = strings.Fields(`X-Real-IP x-real-ip TRUE-CLIENT-IP CF-Connecting-IP CF-Connecting-IPv6 X-Client-IP Client-IP
	X-Cluster-Client-IP X-Forwarded X-Forward-For Forwarded-For X-Original-Forwarded-For X-Originating-IP X-Remote-IP X-Remote-Addr
	Fastly-Client-IP Fly-Client-IP X-Azure-ClientIP X-Appengine-User-IP WL-Proxy-Client-IP Proxy-Client-IP X-ProxyUser-Ip
	X-Envoy-External-Address Forwarded X-Forwarded-For X-Forwarded-Port X-Forwarded-User X-Forwarded-Client-Cert X-Forwarded-Prefix
	X-Original-Host X-Original-URL X-Rewrite-URL X-Host X-HTTP-Host-Override X-Scheme Front-End-Https
	Remote-User REMOTE-USER X-Remote-User X-Remote-Group X-Remote-Extra-Scopes X-Auth-Request-User X-Auth-Request-Email
	X-SSL-Client-Verify X-SSL-Client-DN x-ssl-client-cert SSL-Client-Cert X-SSL-CERT X-Client-Cert Client-Cert Client-Cert-Chain
	X-TLS-Client-CN X-ARR-ClientCert X-Amzn-Oidc-Identity X-Goog-Authenticated-User-Email Cf-Access-Authenticated-User-Email
	Tailscale-User-Login X-MS-CLIENT-PRINCIPAL X-MS-CLIENT-PRINCIPAL-ID X-My-Client
	CloudFront-Viewer-Address Incap-Client-IP Do-Connecting-IP X-Sucuri-ClientIP Ali-CDN-Real-IP Akamai-Client-IP Cdn-Src-Ip
	X-Source-IP X-User-IP X-Original-IP Real-IP Client-Address X-Client-Port X-ProxyMesh-IP X-Webauth-Name X-Webauth-Email
	X-Remote-Groups X-Remote-Email X-Auth-User X-Auth-Username X-Authenticated-Userid X-Authenticated-Groups X-Consumer-ID
	X-Consumer-Username OIDC-Claim-Sub X-Client-Certificate X-Client-S-DN TLS-Client-Cert TLS-Client-Certificate
	Client-Certificate X-Client-Verified WL-Proxy-SSL Forwarded-Host Forwarded-Proto X-Host-Override`)

// No header that names a client, its user or its certificate comes from a
// stranger, whatever header is configured.
func TestClaimsOfStrangers(t *testing.T) {
	var got http.Header
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header })
	r := newRig(t, Settings{ClientIPHeader: "x-my-client", Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		Route{Path: "/", Upstreams: []string{up}}, Route{Path: "/open", Upstreams: []string{up}, Public: true})
	for _, path := range []string{"/", "/open"} {
		for _, name := range claimNames {
			r.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\n" + cred + name + ": 127.0.0.1, 6.6.6.6\r\n\r\n")
			for k, v := range got {
				if strings.Contains(strings.Join(v, " "), "6.6.6.6") {
					t.Errorf("%s: %s reached the upstream as %s: %q", path, name, k, v)
				}
			}
			if v := got["X-Forwarded-For"]; len(v) != 1 || v[0] != "127.0.0.1" {
				t.Errorf("%s: X-Forwarded-For: %q", name, v)
			}
		}
	}
}

// A trusted peer's headers agree with the client that admission judged.
func TestClaimsOfTrustedPeers(t *testing.T) {
	for i, c := range []struct{ header, send, name, want string }{
		{"", "X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n", "X-Forwarded-For", "6.6.6.6, 203.0.113.7, 127.0.0.1"},
		{"CF-Connecting-IP", "CF-Connecting-IP: 203.0.113.7\r\nX-Forwarded-For: 6.6.6.6\r\n", "X-Forwarded-For", "203.0.113.7, 127.0.0.1"},
		{"CF-Connecting-IP", "CF-Connecting-IP: 203.0.113.7\r\n", "Cf-Connecting-Ip", "203.0.113.7"},
		{"Forwarded", "Forwarded: for=6.6.6.6, for=203.0.113.7;proto=https\r\nX-Forwarded-For: 6.6.6.6\r\n", "X-Forwarded-For", "203.0.113.7, 127.0.0.1"},
		{"Forwarded", "Forwarded: for=203.0.113.7\r\n", "Forwarded", ""},
		{"", "X-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n", "X-Real-Ip", "203.0.113.7"},
		{"", "X-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 6.6.6.6\r\n", "X-Real-Ip", ""},
		{"", "X-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\nX-Real-IP: 6.6.6.6\r\n", "X-Real-Ip", ""},
		{"", "X-Forwarded-For: 203.0.113.7\r\nTrue-Client-IP: 203.0.113.7, 6.6.6.6\r\n", "True-Client-Ip", ""},
		{"X-My-Client", "X-My-Client: 203.0.113.7\r\nX-Real-IP: 6.6.6.6\r\n", "X-Real-Ip", ""},
		{"X-My-Client", "X-My-Client: 203.0.113.7\r\n", "X-My-Client", "203.0.113.7"},
		{"", "Remote-User: alice\r\n", "Remote-User", "alice"},
		{"", "X-SSL-Client-Verify: SUCCESS\r\n", "X-Ssl-Client-Verify", "SUCCESS"},
	} {
		t.Run(fmt.Sprint(i, " ", c.name), func(t *testing.T) {
			var got http.Header
			r := newRig(t, Settings{Trusted: loopback, ClientIPHeader: c.header},
				Route{Path: "/", Upstreams: []string{backend(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header })}})
			r.gate.client = admit.ClientFinder(loopback, c.header)
			r.raw("GET / HTTP/1.1\r\nHost: x\r\n" + cred + c.send + "\r\n")
			if v := strings.Join(got[c.name], "|"); v != c.want {
				t.Errorf("%s: %q, want %q", c.name, v, c.want)
			}
		})
	}
}

// The country of a client is what a trusted peer says in the configured header, once.
func TestCountryOfTrustedPeers(t *testing.T) {
	for i, c := range []struct {
		trusted    []netip.Prefix
		send, want string
	}{
		{loopback, "CF-IPCountry: BR\r\n", "BR"},
		{nil, "CF-IPCountry: BR\r\n", ""},
		{loopback, "CF-IPCountry: BR\r\nCF-IPCountry: DE\r\n", ""},
		{loopback, "X-Country: BR\r\n", ""},
		{loopback, "", ""},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := newRig(t, Settings{Trusted: c.trusted, CountryHeader: "cf-ipcountry"}, Route{Path: "/", Upstreams: []string{backend(t, func(http.ResponseWriter, *http.Request) {})}})
			r.raw("GET / HTTP/1.1\r\nHost: x\r\n" + cred + c.send + "\r\n")
			if got := r.log.next(t).Country; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Headers that ask for another method are dropped, except those that the route
// allows by name.
func TestMethodOverrides(t *testing.T) {
	var got http.Header
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}},
		Route{Path: "/allowed", Upstreams: []string{up}, AllowMethodOverride: []string{"x-http-method-override"}})
	for _, name := range strings.Fields("X-HTTP-Method-Override x-http-method-override X-Method-Override X-HTTP-Method HTTP-Method-Override Method-Override X-Original-Method " +
		"X-Verb X-Override-Method X-Tunnel-Method X-Requested-Method X-Request-Method X-HTTP-Overridemethod X-Real-Method") {
		for _, method := range []string{"GET", "POST", "PUT"} {
			for _, path := range []string{"/", "/allowed"} {
				r.raw(method + " " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + cred + name + ": DELETE\r\nAccess-Control-Request-Method: PUT\r\n\r\n")
				canonical := http.CanonicalHeaderKey(name)
				pass := path == "/allowed" && canonical == "X-Http-Method-Override"
				if (got.Get(name) == "DELETE") != pass {
					t.Errorf("%s %s with %s: the upstream got %q", method, path, name, got[canonical])
				}
				if got.Get("Access-Control-Request-Method") != "PUT" {
					t.Errorf("a header of another purpose was dropped")
				}
			}
		}
	}
}
