package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/iprange"
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$`)

// addressFault is the reason for which s is no HOST:PORT, or "".
func addressFault(s string) string {
	const form = `must be HOST:PORT, such as ":8080" or "127.0.0.1:0"`
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return form
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return form + "; the port is a number from 0 to 65535"
	}
	if _, err := netip.ParseAddr(host); host == "" || err == nil {
		return ""
	}
	if iprange.LooksIPv4(host) {
		return form + "; an IPv4 address is four numbers from 0 to 255"
	}
	if len(host) > 253 || !hostName.MatchString(host) {
		return form + "; the host is a name or an address"
	}
	return ""
}

// peerFault is [addressFault] for an address that others connect to.
func peerFault(s string) string {
	reason := addressFault(s)
	host, port, _ := net.SplitHostPort(s)
	ip, err := netip.ParseAddr(host)
	switch {
	case reason != "":
		return reason
	case host == "" || err == nil && ip.IsUnspecified():
		return "must have the host at which other nodes reach it"
	case port == "0":
		return "must have the port at which other nodes reach it, from 1 to 65535"
	}
	return ""
}

// Overlap reports whether two listeners cannot both have their addresses: the same
// port on hosts of which one includes the other. Port 0 is chosen by the system.
func Overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return sameHost(hostA, hostB)
}

// sameHost reports whether one of two hosts includes the other. A name is compared
// as it stands, for it may be resolved to anything.
func sameHost(a, b string) bool {
	a, b = plainHost(a), plainHost(b)
	return a == "" || b == "" || a == b
}

// plainHost is host in one spelling; "" is every address of the machine.
func plainHost(host string) string {
	if host = strings.ToLower(host); host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return host
	case ip.IsUnspecified():
		return ""
	}
	return ip.Unmap().String()
}

// plainAddress is a HOST:PORT with its host in one spelling; "" stays.
func plainAddress(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return s
	}
	return net.JoinHostPort(plainHost(host), port)
}
