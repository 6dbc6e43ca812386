package httpapi

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// parsePrefix reads an address or CIDR and normalises it: an address is a
// prefix of full length, IPv4-mapped IPv6 is IPv4, and bits behind the length
// are cleared (203.0.113.7/24 is 203.0.113.0/24: what it has always meant).
func parsePrefix(s string) (netip.Prefix, error) {
	var p netip.Prefix
	if strings.Contains(s, "/") {
		var err error
		if p, err = netip.ParsePrefix(s); err != nil {
			return p, errors.New("is not an IP address or CIDR range")
		}
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return p, errors.New("is not an IP address or CIDR range")
		}
		if a.Zone() != "" {
			return p, errors.New("has a zone, which means nothing on another machine")
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return p, errors.New("mixes IPv4-mapped and other IPv6 addresses")
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// cidr is a prefix as people write it: one address stands without a length.
type cidr netip.Prefix

// AppendText implements [encoding.TextAppender].
func (c cidr) AppendText(b []byte) ([]byte, error) {
	p := netip.Prefix(c)
	if p.IsSingleIP() {
		return p.Addr().AppendTo(b), nil
	}
	return p.AppendTo(b), nil
}

// MarshalText implements [encoding.TextMarshaler].
func (c cidr) MarshalText() ([]byte, error) { return c.AppendText(nil) }

// maxComplaints bounds how many bad entries one answer names.
const maxComplaints = 500

// complaints collects what is wrong with the entries of a list.
type complaints struct {
	said []string
	more int
}

// add notes that entry, which stands at place, is wrong for a reason.
func (c *complaints) add(place, entry string, reason error) {
	if len(c.said) == maxComplaints {
		c.more++
		return
	}
	c.said = append(c.said, fmt.Sprintf("%s: %.40q %v", place, entry, reason))
}

func (c *complaints) err() error {
	if len(c.said) == 0 {
		return nil
	}
	text := strings.Join(c.said, "; ")
	if c.more > 0 {
		text += fmt.Sprintf("; and %d more", c.more)
	}
	return fault.Newf(fault.InvalidValue, "%s.", text)
}
