package webhook

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
)

// MaxURL bounds an endpoint's URL, in bytes.
const MaxURL = 2_048

// CheckURL holds an endpoint's URL to what can be posted to. Its address is judged at the
// time of each connection, not here.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > MaxURL || u.Opaque != "" || u.Hostname() == "":
		return fmt.Errorf("must be a URL such as https://example.com/perfgate, of at most %d bytes", MaxURL)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("must begin with https:// or http://")
	case u.User != nil:
		return fmt.Errorf("must not hold a user name or password; verify the signature instead")
	case u.Fragment != "":
		return fmt.Errorf("must not have a fragment, which is never sent")
	}
	return nil
}

// closed are the ranges that are not reached although they may look public: IANA's
// registries of special-purpose addresses, and metadata of clouds.
var closed = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	// A public address at which machines of Azure reach the platform: its WireServer hands out
	// what the machine was set up with. The other clouds' metadata is in the ranges above:
	// 169.254.169.254, 169.254.170.2, 192.0.0.192, 100.100.100.200, fd00:ec2::254.
	"168.63.129.16/32",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// global is the only part of IPv6 from which public addresses are given out. Beyond it are
// loopback, mapped and compatible IPv4, NAT64, unique local, link-local and multicast.
var global = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// CheckTarget refuses a URL whose host is an address that no connection is made to; allowed
// are the ranges that an operator allows. A name is judged at the time of each connection,
// and [CheckURL] refuses what is no URL.
func CheckTarget(raw string, allowed []netip.Prefix) error {
	if u, err := url.Parse(raw); err == nil {
		if a, err := netip.ParseAddr(u.Hostname()); err == nil {
			return guard{allowed}.check(a)
		}
	}
	return nil
}

// Refused is the error of a connection to an address that must not be reached.
type Refused struct{ Addr netip.Addr }

func (e *Refused) Error() string {
	return fmt.Sprintf("%s is not a public address; an operator can allow it in webhooks.allow_private", e.Addr)
}

// guard judges addresses.
type guard struct{ allowed []netip.Prefix }

// check is nil for an address that may be reached.
func (g guard) check(a netip.Addr) error {
	a = a.WithZone("").Unmap()
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(g.allowed, in) {
		return nil
	}
	if !a.IsValid() || a.Is6() && !global.Contains(a) || slices.ContainsFunc(closed, in) {
		return &Refused{a}
	}
	return nil
}

// control is the dialer's hook: it runs after names are resolved, for each address that is
// tried, and before the connection is made.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("address %q: %w", host, err)
	}
	return g.check(a)
}
