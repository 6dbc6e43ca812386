package h1

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// appendHead appends the head of x, whose body has length octets: -1 is chunked.
func (x *Call) appendHead(buf []byte, length int64) (_ []byte, err error) {
	method := x.Method
	if method == "" {
		method = http.MethodGet
	}
	switch {
	case !isToken(method):
		return buf, unsendable("the method %q is not a token", method)
	case !isTarget(x.Path):
		return buf, unsendable("the target %q has a control character or a space", x.Path)
	case x.Host == "" || !isValue(x.Host):
		return buf, unsendable("%q is no value for Host", x.Host)
	}
	buf = append(append(append(buf, method...), ' '), x.Path...)
	buf = append(buf, " HTTP/1.1\r\nHost: "...)
	buf = append(append(buf, x.Host...), "\r\n"...)
	for name, value := range x.Fields.All() {
		if buf, err = appendField(buf, name, value); err != nil {
			return buf, err
		}
	}
	if x.Close && !hasToken(x.Fields.Values("Connection"), "close") {
		buf = append(buf, "Connection: close\r\n"...)
	}
	switch {
	case length < 0:
		buf = append(buf, "Transfer-Encoding: chunked\r\n"...)
		if buf, err = appendAnnouncement(buf, x.Announced); err != nil {
			return buf, err
		}
	case length > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		buf = strconv.AppendInt(append(buf, "Content-Length: "...), length, 10)
		buf = append(buf, "\r\n"...)
	}
	return append(buf, "\r\n"...), nil
}

// appendField appends the line of a header field, unless it is one that the message itself
// decides, or an empty User-Agent.
func appendField(buf []byte, name, value string) ([]byte, error) {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return buf, nil
	case "User-Agent":
		if value == "" {
			return buf, nil
		}
	}
	switch {
	case !isToken(name):
		return buf, unsendable("the header name %q is not a token", name)
	case !isValue(value):
		return buf, unsendable("the header %s has a control character", name)
	}
	buf = append(append(buf, name...), ": "...)
	return append(append(buf, trimBlanks(value)...), "\r\n"...), nil
}

// appendAnnouncement appends the field Trailer, which lists names.
func appendAnnouncement(buf []byte, names []string) ([]byte, error) {
	before := "Trailer: "
	for _, name := range names {
		if !isToken(name) || !mayTrail(name) {
			return buf, unsendable("no trailer may have the name %q", name)
		}
		buf = append(append(buf, before...), name...)
		before = ", "
	}
	if len(names) > 0 {
		buf = append(buf, "\r\n"...)
	}
	return buf, nil
}

// appendTrailer appends the end of a chunked body.
func (x *Call) appendTrailer(buf []byte) (_ []byte, err error) {
	buf = append(buf, "0\r\n"...)
	if x.Trailer != nil {
		for name, value := range x.Trailer.All() {
			if !mayTrail(name) {
				continue
			}
			if buf, err = appendField(buf, name, value); err != nil {
				return buf, err
			}
		}
	}
	return append(buf, "\r\n"...), nil
}

// HostOf is the value of the field Host for a host as a URL has it, perhaps with a port. An
// error is a [*RequestError].
func HostOf(host string) (string, error) {
	ascii, err := httpguts.PunycodeHostPort(host)
	if err != nil || ascii == "" || !httpguts.ValidHostHeader(ascii) {
		return "", unsendable("%q is no value for Host", host)
	}
	return withoutZone(ascii), nil
}

// withoutZone drops the zone of an IPv6 address, which means something on this machine
// only.
func withoutZone(host string) string {
	if !strings.HasPrefix(host, "[") {
		return host
	}
	end := strings.LastIndexByte(host, ']')
	if zone := strings.IndexByte(host, '%'); zone >= 0 && zone < end {
		return host[:zone] + host[end:]
	}
	return host
}

// isTarget reports whether s can stand in a request line. It need not be a valid target:
// a proxy judges those before.
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// isValue reports whether s can be the value of a field.
func isValue(s string) bool {
	for i := range len(s) {
		if octets[s[i]]&inValue == 0 {
			return false
		}
	}
	return true
}

// TargetOf is what a connection for u must lead to. An error is a [*RequestError].
func TargetOf(u *url.URL) (Target, error) {
	port := ":80"
	switch u.Scheme {
	case "https":
		port = ":443"
	case "http":
	default:
		return Target{}, unsendable("the scheme %q is not supported", u.Scheme)
	}
	if u.Hostname() == "" {
		return Target{}, unsendable("the URL has no host")
	}
	addr, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil {
		return Target{}, unsendable("%q is no host", u.Host)
	}
	switch u.Port() {
	case "":
		addr = strings.TrimSuffix(addr, ":") + port
	}
	return Target{u.Scheme, addr}, nil
}
