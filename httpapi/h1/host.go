package h1

import (
	"net/netip"
	"strconv"
	"strings"
)

// validHost reports whether s is a host with or without a port: a name or an IPv4
// address of letters, digits, "-", "." and "_", or an IPv6 address in brackets. The
// other characters that RFC 3986 allows have no use here, and programs differ about them.
func validHost(s string) bool {
	host, port := splitHost(s)
	if port != "" {
		if n, err := strconv.ParseUint(port[1:], 10, 16); err != nil || n == 0 || len(port) > len(":65535") {
			return false
		}
	}
	if inside, ok := strings.CutPrefix(host, "["); ok {
		inside, ok = strings.CutSuffix(inside, "]")
		ip, err := netip.ParseAddr(inside)
		return ok && err == nil && ip.Is6() && ip.Zone() == ""
	}
	for i := range len(host) {
		if octets[host[i]]&inHost == 0 {
			return false
		}
	}
	return host != ""
}

// splitHost cuts a host before the colon of its port.
func splitHost(s string) (host, port string) {
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		return s[:i], s[i:]
	}
	return s, ""
}

// sameHost reports whether two hosts are the same; the port of the scheme may be left out.
func sameHost(a, b string, secure bool) bool {
	port := ":80"
	if secure {
		port = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(a, port), strings.TrimSuffix(b, port))
}
