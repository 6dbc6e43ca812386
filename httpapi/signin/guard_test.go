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

// Attempts that are looked at at the same time are bounded as if they failed, and give their
// room back if they do not.
func TestGuardCountsWhatIsEntered(t *testing.T) {
	for _, one := range []bool{true, false} {
		g, most := NewGuard(), 20
		at := func(i int) *Attempt {
			a := &Attempt{Client: netip.MustParseAddr("192.0.2.1"), User: "ada@example.com"}
			if !one {
				a.Client = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			}
			return a
		}
		if one {
			most = 10
		}
		var leave []func()
		for i := range 100 {
			if done, wait := g.Enter(at(i)); wait == 0 {
				leave = append(leave, done)
			} else if wait != 1 && wait > 181 {
				t.Errorf("attempt %d waits for %d s", i, wait)
			}
		}
		if len(leave) != most {
			t.Errorf("one address: %v: %d attempts at once, want %d", one, len(leave), most)
		}
		if g.Wait(at(0)) == 0 {
			t.Error("a look in between sees no failure")
		}
		for i, done := range leave {
			if i%2 == 0 {
				g.Failed(at(i))
			}
			done()
		}
		left := 0
		for i := range 100 {
			if _, wait := g.Enter(at(i)); wait == 0 {
				left++
			}
		}
		if left != most/2 || len(g.entered) == 0 {
			t.Errorf("one address: %v: %d left after %d failures, want %d", one, left, (most+1)/2, most/2)
		}
	}
}
