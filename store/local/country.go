package local

import "net/netip"

// Country is an ISO 3166 alpha-2 code in capitals; the zero value is an unknown one.
type Country [2]byte

// CountryOf reads a code; anything else than two letters is unknown.
func CountryOf(s string) (c Country) {
	if len(s) != len(c) {
		return Country{}
	}
	for i := range c {
		switch b := s[i] &^ 0x20; {
		case b < 'A' || b > 'Z':
			return Country{}
		default:
			c[i] = b
		}
	}
	return c
}

func (c Country) String() string {
	if c == (Country{}) {
		return ""
	}
	return string(c[:])
}

// locate is the country of an address by Config.Country.
func (c *Config) locate(ip netip.Addr) Country {
	if c.Country == nil || !ip.IsValid() {
		return Country{}
	}
	return c.Country(ip)
}

// failed reports whether the gateway itself answered o with a 5xx status.
func (o *Observation) failed() bool { return o.Status >= 500 && (o.Code != "" || o.Failure != "") }
