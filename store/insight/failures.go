package insight

import (
	"fmt"
	"net/netip"
	"time"
)

// Figures of refusals and failed authentications within a window.
const (
	denialsLeast = 30
	denialsNew   = 100 // of a key that is known for less than a day
	denialsTimes = 5   // the most in any window before

	stormAddress = 100
	stormHint    = 50
	stormCountry = 500
	stormTimes   = 5
	maxStorms    = 8192
	maxUsual     = 256 // countries whose usual number is remembered
)

// deny counts a refusal.
func (h *habit) deny(e *Engine, now int64, f Finding) {
	h.Windows.Denied++
	least := float32(denialsLeast)
	if h.First == 0 || now-h.First < day {
		least = denialsNew
	}
	if float32(h.Windows.Denied) < max(least, denialsTimes*h.Windows.Peak+1) || !h.once(atDenials, now) {
		return
	}
	f.Kind, f.Window = Denials, window
	f.Usual = fmt.Sprintf("at most %.0f refusals in ten minutes", h.Windows.Peak)
	f.Seen = fmt.Sprintf("%d refusals in ten minutes", h.Windows.Denied)
	e.find(f, day)
}

// storms count failed authentications of the window at hand.
type storms struct {
	window int64
	counts map[source]uint32
	usual  map[source]float32 // of countries, by window
}

// source is what failed authentications have in common.
type source struct {
	kind    byte // 'a' address, 'h' hint, 'c' country
	account string
	value   string
}

func newStorms() storms {
	return storms{counts: make(map[source]uint32), usual: make(map[source]float32)}
}

// see counts a failed authentication.
func (t *storms) see(e *Engine, s *Seen) {
	if w := s.At / window; w > t.window {
		t.turn(w)
	}
	now := t.window * window
	f := Finding{Kind: Storm, At: time.Unix(max(s.At, now), 0).UTC(), Account: s.Account, Window: window}
	if s.IP.IsValid() {
		t.count(e, source{'a', s.Account, blockOf(s.IP)}, stormAddress, f)
	}
	if s.Hint != "" && s.Key == "" {
		t.count(e, source{'h', s.Account, s.Hint}, stormHint, f)
	}
	if s.Country != [2]byte{} {
		t.count(e, source{'c', s.Account, string(s.Country[:])}, stormCountry, f)
	}
}

// turn begins another window.
func (t *storms) turn(w int64) {
	passed := w - t.window
	for src := range t.counts {
		if _, ok := t.usual[src]; src.kind == 'c' && (ok || len(t.usual) < maxUsual) {
			t.usual[src] += 0 // so that it is there below
		}
	}
	for src, u := range t.usual {
		u += 0.05 * (float32(min(t.counts[src], 10*stormCountry)) - u)
		for range min(passed-1, 200) {
			u *= 0.95
		}
		if t.usual[src] = u; u < 0.01 {
			delete(t.usual, src)
		}
	}
	t.window = w
	clear(t.counts)
}

// count adds one to a source, and finds a storm when it reaches its number.
func (t *storms) count(e *Engine, src source, least uint32, f Finding) {
	n, ok := t.counts[src]
	if !ok && len(t.counts) >= maxStorms {
		return
	}
	n++
	t.counts[src] = n
	usual := float32(0)
	if src.kind == 'c' {
		usual = t.usual[src]
		least = max(least, uint32(stormTimes*usual))
	}
	if n != least {
		return
	}
	f.Subject = src.value
	what := map[byte]string{'a': "from " + src.value, 'h': "with credentials like " + src.value, 'c': "from " + src.value}[src.kind]
	f.Usual = fmt.Sprintf("fewer than %d failed authentications in ten minutes from one address", stormAddress)
	switch src.kind {
	case 'h':
		f.Usual = fmt.Sprintf("fewer than %d failed authentications in ten minutes with one credential", stormHint)
	case 'c':
		f.Usual = fmt.Sprintf("about %.0f failed authentications in ten minutes %s", usual, what)
	}
	f.Seen = fmt.Sprintf("%d failed authentications in ten minutes %s", n, what)
	e.find(f, hour)
}

// blockOf is the block of addresses that one client has: one of IPv4, /64 of IPv6.
func blockOf(ip netip.Addr) string {
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	p, _ := ip.Prefix(64)
	return p.String()
}
