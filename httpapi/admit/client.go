package admit

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gaissmai/bart"
)

// hops knows whom to believe about where a request comes from: the TCP peer,
// and what trusted peers say in one header. The zero value believes peers only.
type hops struct {
	trusted *bart.Lite // nil trusts nobody
	header  string     // canonical
}

// newHops trusts the peers in trusted to say in header who their client is; ""
// means X-Forwarded-For.
func newHops(trusted []netip.Prefix, header string) hops {
	if header == "" {
		header = "X-Forwarded-For"
	}
	h := hops{header: http.CanonicalHeaderKey(header)}
	for _, p := range trusted {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		if h.trusted == nil {
			h.trusted = new(bart.Lite)
		}
		h.trusted.Insert(p.Masked())
	}
	return h
}

// ClientFinder tells the client of requests to a listener that has trusted
// proxies of its own, as [Gate.Client] does by the gate's.
func ClientFinder(trusted []netip.Prefix, header string) func(*http.Request) netip.Addr {
	h := newHops(trusted, header)
	return func(r *http.Request) netip.Addr { return h.client(r.RemoteAddr, r.Header) }
}

// client is the address that a request is judged by: the peer, or, if that is
// trusted, the last address in the header that is not. The header's lines are
// one list in order, walked from its end, for only what trusted hops appended is
// true: whatever stands further left may be the client's own invention. An entry
// that is no address ends the walk, and the hop that sent it is believed to be
// the client. The work is bounded by the size of the header.
//
// Addresses have no zone, and IPv4-mapped IPv6 is IPv4. A peer without an
// address (a Unix socket) gives the zero Addr, which no allowlist contains.
func (h hops) client(remote string, header http.Header) netip.Addr {
	at, ok := address(remote)
	if !ok || !h.trusts(at) {
		return at
	}
	lines := header[h.header]
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
			at = next
			if !h.trusts(at) {
				return at
			}
		}
	}
	return at
}

func (h hops) trusts(a netip.Addr) bool { return h.trusted != nil && h.trusted.Lookup(a) }

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

// lastElement splits off what follows the last sep that is not inside a quoted
// string, reading from the end: the part that a trusted proxy appended is read
// before, and whatever an unbalanced quote further left may say.
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
