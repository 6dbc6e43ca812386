package h1

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// appendHead appends the head of req, which has a body of length octets: -1 is chunked.
// Its fields are those that net/http would send; only their order is another.
func appendHead(buf []byte, req *http.Request, length int64) ([]byte, error) {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	host, err := hostOf(req)
	if err != nil {
		return buf, err
	}
	path := req.URL.RequestURI()
	switch {
	case !isToken(method):
		return buf, unsendable("the method %q is not a token", method)
	case !isTarget(path):
		return buf, unsendable("the target %q has a control character or a space", path)
	}
	buf = append(append(append(buf, method...), ' '), path...)
	buf = append(buf, " HTTP/1.1\r\nHost: "...)
	buf = append(append(buf, host...), "\r\n"...)
	for name, values := range req.Header {
		if buf, err = appendField(buf, name, values); err != nil {
			return buf, err
		}
	}
	if req.Close && !hasToken(req.Header["Connection"], "close") {
		buf = append(buf, "Connection: close\r\n"...)
	}
	switch {
	case length < 0:
		buf = append(buf, "Transfer-Encoding: chunked\r\n"...)
		if buf, err = appendAnnouncement(buf, req.Trailer); err != nil {
			return buf, err
		}
	case length > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		buf = strconv.AppendInt(append(buf, "Content-Length: "...), length, 10)
		buf = append(buf, "\r\n"...)
	}
	return append(buf, "\r\n"...), nil
}

// appendField appends the lines of a header field, except for those that the message
// itself decides. An empty User-Agent stands for none.
func appendField(buf []byte, name string, values []string) ([]byte, error) {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return buf, nil
	case "User-Agent":
		if len(values) == 0 || values[0] == "" {
			return buf, nil
		}
		values = values[:1]
	}
	if !isToken(name) {
		return buf, unsendable("the header name %q is not a token", name)
	}
	for _, v := range values {
		if !isValue(v) {
			return buf, unsendable("the header %s has a control character", name)
		}
		buf = append(append(buf, name...), ": "...)
		buf = append(append(buf, strings.Trim(v, " \t")...), "\r\n"...)
	}
	return buf, nil
}

// appendAnnouncement appends the field Trailer, which lists the names of trailer.
func appendAnnouncement(buf []byte, trailer http.Header) ([]byte, error) {
	before := "Trailer: "
	for name := range trailer {
		if !isToken(name) || !mayTrail(textproto.CanonicalMIMEHeaderKey(name)) {
			return buf, unsendable("no trailer may have the name %q", name)
		}
		buf = append(append(buf, before...), name...)
		before = ", "
	}
	if len(trailer) > 0 {
		buf = append(buf, "\r\n"...)
	}
	return buf, nil
}

// appendTrailer appends the end of a chunked body.
func appendTrailer(buf []byte, trailer http.Header) ([]byte, error) {
	buf = append(buf, "0\r\n"...)
	var err error
	for name, values := range trailer {
		if !mayTrail(textproto.CanonicalMIMEHeaderKey(name)) {
			continue // its name was not announced
		}
		if buf, err = appendField(buf, name, values); err != nil {
			return buf, err
		}
	}
	return append(buf, "\r\n"...), nil
}

// hostOf is the value of the field Host.
func hostOf(req *http.Request) (string, error) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
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

// upgrades reports whether req asks to switch to another protocol.
func upgrades(req *http.Request) bool {
	return len(req.Header["Upgrade"]) > 0 && hasToken(req.Header["Connection"], "upgrade")
}

// targetOf is what a connection for u must lead to.
func targetOf(u *url.URL) (target, error) {
	port := ":80"
	switch u.Scheme {
	case "https":
		port = ":443"
	case "http":
	default:
		return target{}, unsendable("the scheme %q is not supported", u.Scheme)
	}
	if u.Hostname() == "" {
		return target{}, unsendable("the URL has no host")
	}
	addr, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil {
		return target{}, unsendable("%q is no host", u.Host)
	}
	switch u.Port() {
	case "":
		addr = strings.TrimSuffix(addr, ":") + port
	}
	return target{u.Scheme, addr}, nil
}
