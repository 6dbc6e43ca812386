package proxy

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

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

// dashed is name with dashes for underscores, canonical: CGI and its descendants do not
// distinguish the two.
func dashed(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// withheld reports whether a response header of the route's upstreams is kept
// from clients: credentials, the headers that perfgate sets only in requests, and those
// that the route itself sets from the environment. An upstream may echo them, with
// underscores, too.
func (r *route) withheld(name string) bool {
	name = dashed(name)
	switch name {
	case "Authorization", "Proxy-Authorization", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host":
		return true
	case "Alt-Svc": // it advertises the upstream's services at this server's name
		return true
	}
	return isIdentity(name) || len(r.secrets) > 0 && slices.Contains(r.secrets, name)
}

// editResponse makes an upstream's response headers fit for the client.
func (x *exchange) editResponse(res *http.Response) {
	h := res.Header
	if res.StatusCode == http.StatusSwitchingProtocols {
		dropHops(h) // ReverseProxy does it for all others
		h["Connection"] = []string{"Upgrade"}
	}
	x.editHead(h)
	if len(res.Trailer) > 0 && x.r.ProtoMajor == 1 && x.r.Method != http.MethodHead {
		h.Del("Content-Length") // HTTP/2 has both; in HTTP/1.1 trailers need chunks
	}
	x.editHead(res.Trailer)
}

// dropHops removes the fields that are about the connection to the upstream, but Upgrade.
func dropHops(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); !strings.EqualFold(name, "Upgrade") {
				h.Del(name)
			}
		}
	}
	for _, name := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding"} {
		delete(h, name)
	}
}

// editHead removes, renames or rewrites the fields of a head, or of a trailer, that must
// not reach the client as they are.
func (x *exchange) editHead(h http.Header) {
	outer := outside{x.lane.route, x.r.Host}
	for name, values := range h {
		switch {
		case x.lane.route.withheld(name), name == "Via" && x.proxy.via.loops(values):
			delete(h, name)
		case name == "Location" || name == "Content-Location" || name == "Sourcemap":
			rewrite(values, outer.url)
		case name == "Link":
			rewrite(values, outer.link)
		case name == "Refresh":
			rewrite(values, outer.refresh)
		case strings.IndexByte(name, '_') >= 0 && isShadowed(dashed(name)):
			delete(h, name)
		}
	}
	for _, s := range shadowed {
		if v, ok := h[s.name]; ok {
			delete(h, s.name)
			if s.name != fault.RequestIDHeader || len(v) != 1 || v[0] != x.id {
				h[s.renamed] = v
			}
		}
	}
}

func isShadowed(name string) bool {
	for _, s := range shadowed {
		if s.name == name {
			return true
		}
	}
	return false
}
