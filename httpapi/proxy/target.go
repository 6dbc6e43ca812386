package proxy

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/pattern"
)

// checkTarget refuses request targets that an upstream could read as another path
// than the one that was routed. encodedSlash reports a slash that only decoding
// shows; the route decides whether that is allowed.
func checkTarget(r *h1.Request) (encodedSlash bool, _ *fault.Error) {
	if r.Method != "" && !httpguts.ValidHeaderFieldName(r.Method) { // a token, as a method is
		return false, fault.Newf(fault.InvalidRequest, "The method is not valid.")
	}
	if !pattern.Proxied(r.Method) || miscased(r.Method) || r.Target == "*" || r.Path == "*" {
		return false, &fault.Error{Code: fault.MethodNotAllowed, Allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	}
	if strings.IndexByte(r.Target, '#') >= 0 {
		return false, fault.Newf(fault.InvalidRequest, "The request target has a fragment.")
	}
	if !validTarget(r.Target) {
		return false, fault.Newf(fault.InvalidRequest, "The request target has a character that must be percent-encoded.")
	}
	path, raw := decode(r.Path)
	if apikey.Holds(path) || apikey.Holds(raw) || apikey.Holds(r.Method) || apikey.Holds(r.Host) {
		return false, fault.Newf(fault.InvalidRequest, "An API key stands in the request line or the host; send it as \"Authorization: Bearer …\".")
	}
	if !validHost(r.Host) {
		return false, fault.Newf(fault.InvalidRequest, "The host is not valid.")
	}
	if path != "" && path[0] != '/' {
		return false, fault.Newf(fault.InvalidRequest, "The request target is not a path.")
	}
	encodedSlash, why := pattern.CheckPath(path, raw)
	if why != "" {
		return false, fault.Newf(fault.InvalidRequest, "The path %s.", why)
	}
	return encodedSlash, nil
}

// decode is an escaped path without its escapes; raw is the path itself if it differs.
func decode(escaped string) (path, raw string) {
	if strings.IndexByte(escaped, '%') < 0 {
		return escaped, ""
	}
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return escaped, "" // the listener refuses it, and CheckPath a stray "%"
	}
	return path, escaped
}

// miscased holds for a method that differs from a common one in the case of its letters
// only. Methods are case-sensitive, but some upstreams ignore the case, and would serve
// another method than the one that was judged.
func miscased(method string) bool {
	for _, common := range [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
		if method != common && strings.EqualFold(method, common) {
			return true
		}
	}
	return false
}

// validTarget holds for a target of the characters that RFC 3986 allows in one. HTTP/2
// carries any octet, and a request line of HTTP/1.1 with a space is another request.
func validTarget(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c >= 0x7f, c == '"', c == '<', c == '>', c == '\\', c == '^', c == '`', '{' <= c && c <= '}':
			return false
		}
	}
	return true
}

// validHost holds for a host as an authority has it: labels of letters, digits,
// "-" and "_", perhaps with a final dot, or an IP address, IPv6 in brackets; then
// perhaps a port. "" holds: HTTP/1.0 has no host.
func validHost(s string) bool {
	if s == "" {
		return true
	}
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		a, err := netip.ParseAddr(s[1:end])
		return err == nil && a.Is6() && a.Zone() == "" && validPort(s[end+1:])
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !validPort(s[i:]) {
			return false
		}
		s = s[:i]
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case c == '-', c == '_', '0' <= c && c <= '9', 'a' <= c|0x20 && c|0x20 <= 'z':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0
}

// validPort holds for "" and for ":" with a port number.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	_, err := strconv.ParseUint(s[1:], 10, 16)
	return s[0] == ':' && err == nil
}
