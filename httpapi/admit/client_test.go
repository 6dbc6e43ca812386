package admit

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/h1"
)

func trusting(header string, list ...string) hops {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return newHops(p, header)
}

// The headers that clients are read from, with the peers that are trusted.
var (
	xff    = trusting("", "10.0.0.0/8", "2001:db8:ffff::/48", "::ffff:192.168.0.0/112")
	realIP = trusting("x-real-ip", "10.0.0.0/8")
	fwd    = trusting("forwarded", "10.0.0.0/8", "2001:db8:ffff::/48")
)

// clientCases are peers and header lines, and the client that they give.
var clientCases = []struct {
	name   string
	hops   hops
	remote string
	lines  []string
	want   string
}{
	{"nobody is trusted", hops{header: "X-Forwarded-For"}, "10.0.0.1:80", []string{"203.0.113.7"}, "10.0.0.1"},
	{"the peer is not", xff, "198.51.100.1:80", []string{"203.0.113.7"}, "198.51.100.1"},
	{"the peer is", xff, "10.0.0.1:80", []string{"203.0.113.7"}, "203.0.113.7"},
	{"the peer is, as mapped IPv6", xff, "[::ffff:10.0.0.1]:80", []string{"203.0.113.7"}, "203.0.113.7"},
	{"trusted by a mapped prefix", xff, "192.168.3.4:80", []string{"203.0.113.7"}, "203.0.113.7"},
	{"no header", xff, "10.0.0.1:80", nil, "10.0.0.1"},
	{"an empty one", xff, "10.0.0.1:80", []string{""}, "10.0.0.1"},
	{"the client's own inventions stand left", xff, "10.0.0.1:80", []string{"127.0.0.1, 10.9.9.9, 203.0.113.7"}, "203.0.113.7"},
	{"past trusted hops", xff, "10.0.0.1:80", []string{"203.0.113.7, 10.0.0.3,10.0.0.2"}, "203.0.113.7"},
	{"lines are one list", xff, "10.0.0.1:80", []string{"1.1.1.1", "203.0.113.7, 10.0.0.3", "10.0.0.2"}, "203.0.113.7"},
	{"all trusted: the first", xff, "10.0.0.1:80", []string{"10.0.0.4, 10.0.0.3"}, "10.0.0.4"},
	{"garbage stops the walk", xff, "10.0.0.1:80", []string{"203.0.113.7, what, 10.0.0.3"}, "10.0.0.3"},
	{"garbage at once", xff, "10.0.0.1:80", []string{"203.0.113.7, unknown"}, "10.0.0.1"},
	{"empty elements say nothing", xff, "10.0.0.1:80", []string{"203.0.113.7, , ", ","}, "203.0.113.7"},
	{"a port", xff, "10.0.0.1:80", []string{"203.0.113.7:1234"}, "203.0.113.7"},
	{"a bad port", xff, "10.0.0.1:80", []string{"203.0.113.7:99999"}, "10.0.0.1"},
	{"IPv6 bare", xff, "10.0.0.1:80", []string{"2001:db8::7"}, "2001:db8::7"},
	{"IPv6 with a port", xff, "10.0.0.1:80", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
	{"IPv6 in brackets", xff, "10.0.0.1:80", []string{"[2001:db8::7]"}, "2001:db8::7"},
	{"a bracket left open", xff, "10.0.0.1:80", []string{"[2001:db8::7"}, "10.0.0.1"},
	{"something behind the bracket", xff, "10.0.0.1:80", []string{"[2001:db8::7]x"}, "10.0.0.1"},
	{"IPv4 in brackets", xff, "10.0.0.1:80", []string{"[203.0.113.7]"}, "10.0.0.1"},
	{"mapped", xff, "10.0.0.1:80", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
	{"a zone", xff, "[fe80::1%eth0]:80", []string{"203.0.113.7"}, "fe80::1"},
	{"leading zeros are no address", xff, "10.0.0.1:80", []string{"203.0.113.007"}, "10.0.0.1"},
	{"another header is not asked", realIP, "10.0.0.1:80", []string{"203.0.113.7"}, "203.0.113.7"},
	{"no peer address", xff, "@", []string{"203.0.113.7"}, "invalid IP"},
	{"a peer without a port", xff, "10.0.0.1", []string{"203.0.113.7"}, "203.0.113.7"},

	{"for", fwd, "10.0.0.1:80", []string{"for=203.0.113.7"}, "203.0.113.7"},
	{"with all parameters", fwd, "10.0.0.1:80", []string{`for=203.0.113.7;proto=https;by=10.0.0.9;host="a;b,c"`}, "203.0.113.7"},
	{"order and case", fwd, "10.0.0.1:80", []string{`proto=http; FOR="203.0.113.7:81"`}, "203.0.113.7"},
	{"IPv6", fwd, "10.0.0.1:80", []string{`for="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
	{"IPv6 without a port", fwd, "10.0.0.1:80", []string{`For="[2001:db8:cafe::17]"`}, "2001:db8:cafe::17"},
	{"an obfuscated port", fwd, "10.0.0.1:80", []string{`for="203.0.113.7:_http"`}, "203.0.113.7"},
	{"quoted pairs", fwd, "10.0.0.1:80", []string{`for="203\.0.113.7"`}, "203.0.113.7"},
	{"past trusted hops", fwd, "10.0.0.1:80", []string{`for=203.0.113.7, for="[2001:db8:ffff::2]"`, "for=10.0.0.2"}, "203.0.113.7"},
	{"an obfuscated node", fwd, "10.0.0.1:80", []string{"for=203.0.113.7, for=_hidden, for=10.0.0.2"}, "10.0.0.2"},
	{"unknown", fwd, "10.0.0.1:80", []string{"for=unknown"}, "10.0.0.1"},
	{"no for", fwd, "10.0.0.1:80", []string{"for=203.0.113.7, proto=https"}, "10.0.0.1"},
	{"for twice", fwd, "10.0.0.1:80", []string{"for=203.0.113.7;for=198.51.100.2"}, "10.0.0.1"},
	{"an open quote of the client's hides nothing", fwd, "10.0.0.1:80", []string{`for="10.0.0.5, for=203.0.113.7`}, "203.0.113.7"},
	{"nor does a backslash", fwd, "10.0.0.1:80", []string{`for="10.0.0.5\", for="203.0.113.7"`}, "203.0.113.7"},
	{"a comma inside quotes divides nothing", fwd, "10.0.0.1:80", []string{`for=203.0.113.7;host="x, for=1.2.3.4"`}, "203.0.113.7"},
}

func TestClient(t *testing.T) {
	for _, c := range clientCases {
		if got := c.hops.client(c.remote, c.lines).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The entry that the trusted proxy appended decides, not the client's in front of
// it.
func TestClientCannotBeForged(t *testing.T) {
	part := rapid.SampledFrom([]string{"for=", "10.0.0.1", "1.2.3.4", `"`, `\`, ",", ";", " ", "[", "]", "::1", ":80", "_x", "=", "x"})
	rapid.Check(t, func(t *rapid.T) {
		own := strings.Join(rapid.SliceOfN(part, 0, 12).Draw(t, "sent"), "")
		for header, appended := range map[string]string{
			"X-Forwarded-For": "203.0.113.7",
			"Forwarded":       `for="203.0.113.7:4711";proto=https;host="a,b\"c"`,
		} {
			h := trusting(header, "10.0.0.0/8")
			for _, lines := range [][]string{{own + ", " + appended}, {own, appended}} {
				if got := h.client("10.0.0.1:80", lines).String(); got != "203.0.113.7" {
					t.Fatalf("%s: %q makes the client %s", header, lines, got)
				}
			}
		}
	})
}

func TestClientAllocatesNothing(t *testing.T) {
	h := trusting("", "10.0.0.0/8")
	header := []string{"1.1.1.1, 203.0.113.7, 10.0.0.3"}
	if n := testing.AllocsPerRun(100, func() { h.client("10.0.0.1:4711", header) }); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}

// The walk ends, and its result has no zone, is not mapped, and is either the
// peer or written in the header.
func FuzzClient(f *testing.F) {
	f.Add("10.0.0.1:80", "203.0.113.7, 10.0.0.2", true)
	f.Add("[::1]:80", `for="[2001:db8::7]:443";proto=https, for=_x`, false)
	f.Add("10.0.0.1:80", `for="\"",,;for=10.0.0.2`, false)
	f.Fuzz(func(t *testing.T, remote, value string, xff bool) {
		header := "Forwarded"
		if xff {
			header = "X-Forwarded-For"
		}
		h := trusting(header, "10.0.0.0/8", "::/64")
		got := h.client(remote, []string{value})
		if got.Zone() != "" || got.Is4In6() {
			t.Fatalf("client(%q, %q) = %v", remote, value, got)
		}
		if peer, ok := address(remote); !ok && got.IsValid() || ok && !h.trusted.Contains(peer) && got != peer {
			t.Fatalf("client(%q, %q) = %v: the header of an untrusted peer was read", remote, value, got)
		}
	})
}

// The chain is the list that a trusted peer sent, with the peer appended. Of another header,
// it names the judged client, then the trusted hops.
func TestChain(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct{ header, remote, lines, want string }{
		{"", "198.51.100.1:80", "203.0.113.7", "198.51.100.1"},
		{"", "10.0.0.1:80", "", "10.0.0.1"},
		{"", "10.0.0.1:80", "203.0.113.7", "203.0.113.7, 10.0.0.1"},
		{"", "10.0.0.1:80", "1.1.1.1, 203.0.113.7, 10.0.0.2", "1.1.1.1, 203.0.113.7, 10.0.0.2, 10.0.0.1"},
		{"", "10.0.0.1:80", "1.1.1.1, 2.2.2.2|203.0.113.7:99|10.0.0.2", "1.1.1.1, 2.2.2.2, 203.0.113.7:99, 10.0.0.2, 10.0.0.1"},
		{"", "10.0.0.1:80", "203.0.113.7, garbage, 10.0.0.2", "203.0.113.7, garbage, 10.0.0.2, 10.0.0.1"},
		{"", "10.0.0.1:80", "10.0.0.3, 10.0.0.2", "10.0.0.3, 10.0.0.2, 10.0.0.1"},
		{"", "10.0.0.1:80", "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ, 203.0.113.7, 10.0.0.2", "203.0.113.7, 10.0.0.2, 10.0.0.1"},
		{"", "10.0.0.1:80", "x pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ|203.0.113.7", "203.0.113.7, 10.0.0.1"},
		{"cf-connecting-ip", "10.0.0.1:80", "203.0.113.7", "203.0.113.7, 10.0.0.1"},
		{"cf-connecting-ip", "198.51.100.1:80", "203.0.113.7", "198.51.100.1"},
		{"forwarded", "10.0.0.1:80", `for=1.1.1.1, for="[2001:db8::7]:99";proto=https, for=10.0.0.2`, "2001:db8::7, 10.0.0.2, 10.0.0.1"},
		{"forwarded", "10.0.0.1:80", "for=_hidden", "10.0.0.1"},
		{"", "[::ffff:10.0.0.1]:80", "203.0.113.7", "203.0.113.7, 10.0.0.1"},
		{"", "@", "203.0.113.7", ""},
	} {
		f := NewForwarding(proxies, c.header)
		r := &h1.Request{Remote: c.remote, Fields: *fields(http.Header{f.Header(): strings.Split(c.lines, "|")})}
		if got := f.Chain(r); got != c.want {
			t.Errorf("%s, %s: %q from %q, want %q", c.header, c.lines, got, c.remote, c.want)
		}
	}
}
