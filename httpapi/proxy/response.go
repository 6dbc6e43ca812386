package proxy

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
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

// dropHops removes the fields that are about the connection to the upstream.
func dropHops(f *h1.Fields) {
	connection := f.Values("Connection")
	f.DeleteFunc(func(name, _ string) bool {
		return isHop(name) || len(connection) > 0 && httpguts.HeaderValuesContainsToken(connection, name)
	})
}

// editHead removes, renames or rewrites the fields of a head, or of a trailer, that must
// not reach the client as they are.
func (x *exchange) editHead(f *h1.Fields) {
	outer := outside{x.lane.route, x.r.Host}
	for i := 0; i < f.Len(); i++ {
		name, value := f.At(i)
		switch {
		case x.lane.route.withheld(name), name == "Set-Cookie" && setsOwnCookie(value), name == "Via" && x.proxy.via.loops([]string{value}),
			strings.IndexByte(name, '_') >= 0 && shadow(dashed(name)) != "":
			f.DeleteAt(i)
			i--
		case name == "Location" || name == "Content-Location" || name == "Sourcemap":
			f.SetAt(i, outer.url(value))
		case name == "Link":
			f.SetAt(i, outer.link(value))
		case name == "Refresh":
			f.SetAt(i, outer.refresh(value))
		case shadow(name) != "":
			if name == fault.RequestIDHeader && value == x.id {
				f.DeleteAt(i)
				i--
			} else {
				f.RenameAt(i, shadow(name))
			}
		}
	}
}

// shadow is the name that an upstream's own of a header that perfgate sets is given; "" if
// it sets none of that name.
func shadow(name string) string {
	switch name[0] {
	case 'X', 'R': // the first letters of the names
		for _, s := range shadowed {
			if s.name == name {
				return s.renamed
			}
		}
	}
	return ""
}

// beginResponse sends the head of the final response, with the headers that every response
// of the proxy carries.
func (x *exchange) beginResponse(status int, f *h1.Fields, length int64) {
	x.status.Store(int32(status))
	if b := x.body; b != nil && x.r.Major == 1 && !b.whole() {
		// The rest of the body may never come: the client learns now that the connection
		// ends, and not when the server has waited for it.
		f.Set("Connection", "close")
	}
	x.down.Begin(status, f, x.ownLines(f), length)
}

// ownLines are the lines of the headers that every response of the proxy carries, beside
// f. An upstream may have its own rule about TLS for its visitors.
func (x *exchange) ownLines(f *h1.Fields) []byte {
	b := append(x.lines[:0], fault.RequestIDHeader...)
	b = append(append(append(b, ": "...), x.id...), "\r\n"...)
	if x.r.Secure && !f.Has(fault.StrictTransport) {
		b = append(b, fault.StrictTransport+": "+fault.StrictTransportValue+"\r\n"...)
	}
	if x.pass.Valid {
		b = admit.AppendLimitHeaders(b, &x.pass.Limits, x.decided)
	}
	x.lines = b
	return b
}

// interim passes an interim response (1xx) on.
func (x *exchange) interim(status int, f *h1.Fields) error {
	x.touch()
	dropHops(f)
	x.editHead(f)
	x.down.Interim(status, f)
	return nil
}
