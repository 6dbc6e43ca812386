package admit

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/iprange"
)

// hops finds the client of a request: the TCP peer, or the address that trusted
// peers report in one header. The zero value trusts no peer.
type hops struct {
	trusted *iprange.Set
	header  string // canonical
}

// newHops trusts the peers in trusted to report their client in header; "" means
// X-Forwarded-For.
func newHops(trusted []netip.Prefix, header string) hops {
	if header == "" {
		header = forwardedForHeader
	}
	return hops{trusted: iprange.NewSet(trusted), header: http.CanonicalHeaderKey(header)}
}

// ClientFinder returns a function that finds the client of a request, as
// [Gate.Client] does, for a listener with trusted proxies of its own.
func ClientFinder(trusted []netip.Prefix, header string) func(*http.Request) netip.Addr {
	h := newHops(trusted, header)
	return func(r *http.Request) netip.Addr { return h.client(r.RemoteAddr, r.Header[h.header]) }
}

// Forwarding knows the way that requests came: the proxies trusted to report
// their client, and the header in which they do.
type Forwarding struct{ hops hops }

// NewForwarding returns a Forwarding for proxies that report their client in
// header; "" means X-Forwarded-For.
func NewForwarding(trusted []netip.Prefix, header string) Forwarding {
	return Forwarding{newHops(trusted, header)}
}

// Header is the canonical name of the header that reports clients.
func (f Forwarding) Header() string { return f.hops.header }

// Trusts reports whether the peer with the address a may report its client.
func (f Forwarding) Trusts(a netip.Addr) bool { return f.hops.trusted.Contains(a) }

// Chain is the way of r as X-Forwarded-For tells it: the list that the trusted peer sent,
// with the peer appended. The elements left of the client that r is judged by may be
// anybody's invention; an upstream that reads the list reads it from its end, as [Gate.Client]
// does. Where another header names the client, the list is made of its hops: the client, then
// the trusted ones. "" is a peer without address.
func (f Forwarding) Chain(r *h1.Request) string {
	if f.hops.header == forwardedForHeader {
		peer, ok := address(r.Remote)
		if !ok {
			return ""
		}
		if !f.hops.trusted.Contains(peer) {
			return peer.String()
		}
		return appended(r.Fields.Values(forwardedForHeader), peer.String())
	}
	var hops []netip.Addr
	client := f.hops.walk(r.Remote, r.Fields.Values(f.hops.header), func(a netip.Addr) { hops = append(hops, a) })
	if !client.IsValid() {
		return ""
	}
	chain := client.String()
	for i := len(hops) - 1; i >= 0; i-- {
		chain += ", " + hops[i].String()
	}
	return chain
}

// forwardedForHeader is the header that names clients by default.
const forwardedForHeader = "X-Forwarded-For"

// appended is the list in lines, as it was sent, with peer at its end. Elements with a key in
// them are dropped, for no key reaches an upstream, and the others stay: a client must not take
// out what the proxies after it have appended.
func appended(lines []string, peer string) string {
	size := len(peer)
	for _, l := range lines {
		size += len(l) + len(", ")
	}
	list := make([]byte, 0, size)
	for _, l := range lines {
		if apikey.Holds(l) {
			l = withoutKeys(l)
		}
		if l = trim(l); l != "" {
			list = append(append(list, l...), ", "...)
		}
	}
	return string(append(list, peer...))
}

// withoutKeys is the list in a line without its elements that hold a key.
func withoutKeys(line string) string {
	var kept []string
	for elem := range strings.SplitSeq(line, ",") {
		if elem = trim(elem); elem != "" && !apikey.Holds(elem) {
			kept = append(kept, elem)
		}
	}
	return strings.Join(kept, ", ")
}

// ReadAddress reads an address as the headers that name clients hold it, perhaps
// with a port.
func ReadAddress(s string) (netip.Addr, bool) { return address(trim(s)) }

// client is the address that a request is judged by: the peer, or, if that is
// trusted, the last address in the header that is not. The header's lines are one
// list in order, walked from its end, for only the entries that trusted hops
// appended are true: those further left may be the client's invention. An entry
// that is no address ends the walk, and the hop that sent it is believed to be
// the client. The work is bounded by the size of the header.
//
// Addresses have no zone, and IPv4-mapped IPv6 is IPv4. A peer without an
// address (a Unix socket) gives the zero Addr, which no allowlist contains.
func (h hops) client(remote string, lines []string) netip.Addr {
	return h.walk(remote, lines, nil)
}

// walk finds the client as client documents it, and passes every hop on the way
// to hop: the peer first, the client not.
func (h hops) walk(remote string, lines []string, hop func(netip.Addr)) netip.Addr {
	at, ok := address(remote)
	if !ok || !h.trusted.Contains(at) {
		return at
	}
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := lines[i]; rest != ""; {
			var elem string
			var next netip.Addr
			if h.header == "Forwarded" {
				elem, rest = lastElement(rest, ',')
				next, ok = forwardedFor(elem)
			} else {
				c := strings.LastIndexByte(rest, ',')
				elem, rest = rest[c+1:], rest[:max(c, 0)]
				next, ok = address(trim(elem))
			}
			if trim(elem) == "" {
				continue // an empty list element says nothing (RFC 9110 section 5.6.1.2)
			}
			if !ok {
				return at
			}
			if hop != nil {
				hop(at)
			}
			at = next
			if !h.trusted.Contains(at) {
				return at
			}
		}
	}
	return at
}

// address reads an IP address with or without a port, IPv6 in brackets or, if
// there is no port, bare.
func address(s string) (netip.Addr, bool) {
	host := s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || s[end+1:] != "" && (s[end+1] != ':' || !isPort(s[end+2:])) {
			return netip.Addr{}, false
		}
		host = s[1:end]
		if strings.IndexByte(host, ':') < 0 {
			return netip.Addr{}, false
		}
	} else if c := strings.IndexByte(s, ':'); c >= 0 && c == strings.LastIndexByte(s, ':') {
		if host = s[:c]; !isPort(s[c+1:]) {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, false
	}
	return a.WithZone("").Unmap(), true
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// lastElement splits off the text after the last sep that is not inside a quoted
// string, reading from the end: the part that a trusted proxy appended is read first,
// so that an unbalanced quote further left cannot hide it.
func lastElement(s string, sep byte) (elem, rest string) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !(quoted && escaped(s, i)):
			quoted = !quoted
		case s[i] == sep && !quoted:
			return s[i+1:], s[:i]
		}
	}
	return s, ""
}

// escaped reports whether an odd number of backslashes stands before s[i].
func escaped(s string, i int) bool {
	n := 0
	for i--; i >= 0 && s[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// forwardedFor is the address in the "for" parameter of one element of a
// Forwarded header (RFC 7239 section 4). Obfuscated and unknown nodes have none,
// nor has an element that says it twice.
func forwardedFor(elem string) (a netip.Addr, ok bool) {
	found := false
	for rest := elem; rest != ""; {
		var pair string
		pair, rest = lastElement(rest, ';')
		name, value, eq := strings.Cut(trim(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if found || !eq {
			return netip.Addr{}, false
		}
		found = true
		if a, ok = node(value); !ok {
			return netip.Addr{}, false
		}
	}
	return a, ok
}

// node reads a node of RFC 7239 section 6, a token or a quoted string. Its port
// may be obfuscated ("_" and more), which is dropped like any port.
func node(s string) (netip.Addr, bool) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
		if strings.IndexByte(s, '\\') >= 0 {
			s = unquote(s)
		}
	}
	if c := strings.LastIndexByte(s, ':'); c >= 0 && strings.HasPrefix(s[c+1:], "_") {
		s = s[:c]
	}
	return address(s)
}

// unquote drops the backslash of each quoted pair (RFC 9110 section 5.6.4).
func unquote(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}
