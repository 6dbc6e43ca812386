package iprange

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
)

// The reasons why a text is no range. They follow the text in a message.
var (
	errForm  = errors.New(`must be an IP address or CIDR range, such as "10.0.0.0/8" or "2001:db8::1"`)
	errZone  = errors.New("must not have a zone, which means nothing on another machine")
	errMixed = errors.New("must not mix IPv4-mapped and other IPv6 addresses")
)

// Parse reads an address or a CIDR range and drops its host bits.
func Parse(s string) (netip.Prefix, error) {
	p, err := parse(s)
	return p.Masked(), err
}

// ParseExact reads an address or a CIDR range that has no host bits.
func ParseExact(s string) (netip.Prefix, error) {
	p, err := parse(s)
	if err == nil && p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("must begin at its first address: write %s, or one address alone", p.Masked())
	}
	return p, err
}

// parse keeps host bits.
func parse(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, errForm
		}
		if p.Addr().Is4In6() && p.Bits() < 96 {
			return netip.Prefix{}, errMixed
		}
		return unmap(p), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, errForm
	}
	if a.Zone() != "" {
		return netip.Prefix{}, errZone
	}
	return unmap(netip.PrefixFrom(a, a.BitLen())), nil
}

// unmap turns a range of IPv4-mapped IPv6 addresses into one of IPv4.
func unmap(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p
}

// Append appends p as people write it: one address stands without a length.
func Append(b []byte, p netip.Prefix) []byte {
	if p.IsSingleIP() {
		return p.Addr().AppendTo(b)
	}
	return p.AppendTo(b)
}

// Set is an immutable set of addresses; nil is the empty one. It is safe for
// concurrent use.
type Set struct{ table bart.Lite }

// NewSet returns the set of all addresses in ranges. It drops their host bits.
func NewSet(ranges []netip.Prefix) *Set {
	if len(ranges) == 0 {
		return nil
	}
	s := new(Set)
	for _, p := range ranges {
		s.table.Insert(unmap(p).Masked())
	}
	return s
}

// Contains reports whether a is in the set. The zero Addr is in none, and an
// IPv4-mapped address in none but those that say so.
func (s *Set) Contains(a netip.Addr) bool {
	return s != nil && a.IsValid() && s.table.Contains(a)
}
