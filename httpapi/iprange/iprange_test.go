package iprange

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in, want string // the range, or a part of the error that Parse returns
		exact    string // the same of ParseExact; "" if it is no other
	}{
		{"203.0.113.7", "203.0.113.7/32", ""},
		{"203.0.113.0/24", "203.0.113.0/24", ""},
		{"203.0.113.7/24", "203.0.113.0/24", "write 203.0.113.0/24"},
		{"10.1.2.3/8", "10.0.0.0/8", "write 10.0.0.0/8"},
		{"203.0.113.7/32", "203.0.113.7/32", ""},
		{"0.0.0.0/0", "0.0.0.0/0", ""},
		{"1.2.3.4/0", "0.0.0.0/0", "write 0.0.0.0/0"},
		{"2001:db8::1", "2001:db8::1/128", ""},
		{"2001:DB8::/32", "2001:db8::/32", ""},
		{"2001:db8::1/32", "2001:db8::/32", "write 2001:db8::/32"},
		{"::ffff:203.0.113.7", "203.0.113.7/32", ""},
		{"::ffff:203.0.113.0/120", "203.0.113.0/24", ""},
		{"::ffff:203.0.113.7/120", "203.0.113.0/24", "write 203.0.113.0/24"},
		{"::ffff:0:0/96", "0.0.0.0/0", ""},
		{"::ffff:0:0/95", "must not mix", ""},
		{"::/0", "::/0", ""},
		{"fe80::1%eth0", "zone", ""},
		{"fe80::1%eth0/64", "CIDR range", ""},
		{"", "CIDR range", ""},
		{" 10.0.0.1", "CIDR range", ""},
		{"10.0.0.0/33", "CIDR range", ""},
		{"10.0.0.0/08", "CIDR range", ""},
		{"10.0.0/8", "CIDR range", ""},
		{"010.0.0.1", "CIDR range", ""},
		{"10.0.0.1:80", "CIDR range", ""},
		{"example.com", "CIDR range", ""},
	} {
		for name, parse := range map[string]func(string) (netip.Prefix, error){"Parse": Parse, "ParseExact": ParseExact} {
			want := c.want
			if name == "ParseExact" && c.exact != "" {
				want = c.exact
			}
			p, err := parse(c.in)
			if err != nil && (p.IsValid() || !strings.Contains(err.Error(), want)) || err == nil && p.String() != want {
				t.Errorf("%s(%q) = %v, %v; must be %q", name, c.in, p, err, want)
			}
		}
	}
}

func TestAppend(t *testing.T) {
	for in, want := range map[string]string{"10.0.0.1/32": "10.0.0.1", "10.0.0.0/8": "10.0.0.0/8", "2001:db8::1": "2001:db8::1", "::/0": "::/0"} {
		p, err := Parse(in)
		if got := string(Append([]byte("x "), p)); err != nil || got != "x "+want {
			t.Errorf("%s is written as %q (%v), must be %q", in, got, err, want)
		}
	}
}

func TestSet(t *testing.T) {
	s := NewSet([]netip.Prefix{
		netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("::ffff:192.0.2.0/120"), netip.MustParsePrefix("2001:db8::/32"),
	})
	for a, want := range map[string]bool{
		"10.200.0.1": true, "192.0.2.200": true, "2001:db8:5::1": true,
		"11.0.0.1": false, "192.0.3.1": false, "2001:db9::": false,
		"::ffff:10.0.0.1": false, // callers unmap addresses first
	} {
		if got := s.Contains(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, must be %v", a, got, want)
		}
	}
	if NewSet(nil).Contains(netip.MustParseAddr("10.0.0.1")) || s.Contains(netip.Addr{}) {
		t.Error("the empty set has an address, or a set has the zero address")
	}
}

// FuzzParse: a range that is read is written so that it reads as the same, and
// the two readers differ in host bits only.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "10.1.2.3/8", "::ffff:1.2.3.4/97", "fe80::1%a", "::/0", "1.2.3.4/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		exact, refused := ParseExact(s)
		if err != nil {
			if refused == nil {
				t.Fatalf("%q is refused, and exactly %v", s, exact)
			}
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() && p.Bits() > 95 || refused == nil && exact != p {
			t.Fatalf("%q became %v, exactly %v", s, p, exact)
		}
		if again, err := ParseExact(string(Append(nil, p))); err != nil || again != p {
			t.Fatalf("%v is written as %s and read as %v, %v", p, Append(nil, p), again, err)
		}
	})
}
