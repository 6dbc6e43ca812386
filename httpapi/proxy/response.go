package proxy

import (
	"net/http"
	"slices"

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

// withheld reports whether a response header of the route's upstreams is kept
// from clients: credentials, the identity that only requests have, and the
// headers that the route itself sets from the environment, which an upstream may
// echo.
func (r *route) withheld(name string) bool {
	return name == "Authorization" || name == "Proxy-Authorization" || isIdentity(name) ||
		name == "Alt-Svc" || // it advertises the upstream's services at this server's name
		len(r.secrets) > 0 && slices.Contains(r.secrets, name)
}

// editResponse makes an upstream's response headers fit for the client.
func (x *exchange) editResponse(res *http.Response) {
	h := res.Header
	x.withhold(h)
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
	x.withhold(res.Trailer)
}

// withhold removes or rewrites the fields of a head, interim ones (103) too, or of a
// trailer that must not reach the client as they are.
func (x *exchange) withhold(h http.Header) {
	outer := outside{x.lane.route, x.r.Host}
	for name, values := range h {
		switch {
		case x.lane.route.withheld(name):
			delete(h, name)
		case name == "Location" || name == "Content-Location" || name == "Sourcemap":
			rewrite(values, outer.url)
		case name == "Link":
			rewrite(values, outer.link)
		case name == "Refresh":
			rewrite(values, outer.refresh)
		}
	}
}
