package signin

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// Failures from anywhere delay neither other users nor the user at an address that they
// know, and the delays end by themselves.
func TestGuard(t *testing.T) {
	g := NewGuard()
	home := netip.MustParseAddr("198.51.100.7")
	at := func(client netip.Addr, user string, mono time.Duration) *Attempt {
		return &Attempt{Client: client, User: user, Known: []string{home.String()}, Mono: int64(mono)}
	}
	fail := func(a *Attempt) bool {
		if g.Wait(a) > 0 {
			return false
		}
		g.Failed(a)
		return true
	}
	n := 0
	for i := range 1_000 {
		if fail(at(netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i%250)), "Ada@example.com", 0)) {
			n++
		}
	}
	if n != 20 {
		t.Errorf("%d guesses from many addresses, want 20", n)
	}
	if w := g.Wait(at(netip.MustParseAddr("203.0.113.1"), "ada@EXAMPLE.com", 0)); w < 60 || w > 181 {
		t.Errorf("from another address: wait %d s", w)
	}
	if w := g.Wait(at(home, "ada@example.com", 0)); w != 0 {
		t.Errorf("at home: wait %d s", w)
	}
	if w := g.Wait(at(netip.MustParseAddr("203.0.113.1"), "bob@example.com", 0)); w != 0 {
		t.Errorf("another user: wait %d s", w)
	}
	if !fail(at(netip.MustParseAddr("203.0.113.1"), "ada@example.com", 4*time.Minute)) || fail(at(netip.MustParseAddr("203.0.113.1"), "ada@example.com", 4*time.Minute)) {
		t.Error("one guess is regained in three minutes")
	}
	// One address, whatever users it names; an IPv6 network counts as one.
	n = 0
	for i := range 100 {
		if fail(at(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)), fmt.Sprintf("user%d@example.com", i), 0)) {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d guesses from one network, want 10", n)
	}
	if w := g.Wait(at(netip.MustParseAddr("2001:db8:0:1::1"), "x@example.com", 0)); w != 0 {
		t.Errorf("another network: wait %d s", w)
	}
}
