package serve

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// wire is a connection from an address that only knows whether it was closed.
type wire struct {
	net.Conn
	from   netip.Addr
	closed bool
}

func (w *wire) RemoteAddr() net.Addr { return &net.TCPAddr{IP: w.from.AsSlice(), Port: 1} }
func (w *wire) Close() error         { w.closed = true; return nil }

// accepting is a listener's connections, with a clock that tests set.
type accepting struct {
	*conns
	clock time.Duration
	all   []*conn // every one that was taken
}

func newAccepting(most int, trusted ...string) *accepting {
	a := &accepting{}
	var proxies []netip.Prefix
	for _, s := range trusted {
		proxies = append(proxies, netip.MustParsePrefix(s))
	}
	a.conns = newConns(most, proxies)
	a.conns.now = func() time.Duration { return a.clock }
	return a
}

// open takes n connections from an address, one a millisecond, and returns the
// last one: nil if it was closed at once.
func (a *accepting) open(n int, from string) (c *conn) {
	for range n {
		a.clock += time.Millisecond
		if c = a.take(&wire{from: netip.MustParseAddr(from)}); c != nil {
			a.all = append(a.all, c)
		}
	}
	return c
}

// left counts the open connections of an address.
func (a *accepting) left(from string) (n int) {
	for _, c := range a.all {
		if w := c.Conn.(*wire); w.from == netip.MustParseAddr(from) && !w.closed {
			n++
		}
	}
	return n
}

func closed(c *conn) bool { return c.Conn.(*wire).closed }

// One address cannot take more than its share, and its flood closes its own.
func TestAddressBound(t *testing.T) {
	const most = 640
	a := newAccepting(most, "10.0.0.0/8")
	customer := a.open(1, "198.51.100.7")
	if a.open(5*most, "192.0.2.1") == nil {
		t.Error("the newest connection is refused")
	}
	if n := a.left("192.0.2.1"); n > most/addressShare || n < most/addressShare-most/batchShare {
		t.Errorf("one address holds %d connections of %d", n, most)
	}
	if closed(customer) {
		t.Error("another address's connection was closed")
	}
	// A /64 of IPv6 is one address, and a trusted proxy none.
	for i := range most {
		a.open(1, fmt.Sprintf("2001:db8::%x", i+1))
	}
	n := 0
	for _, c := range a.all {
		if w := c.Conn.(*wire); w.from.Is6() && !w.closed {
			n++
		}
	}
	if n > most/addressShare {
		t.Errorf("one /64 holds %d connections", n)
	}
	b := newAccepting(most, "10.0.0.0/8")
	if b.open(most, "10.1.2.3"); b.left("10.1.2.3") != most {
		t.Errorf("a trusted proxy holds %d connections of %d", b.left("10.1.2.3"), most)
	}
}

// When all connections are taken, the idlest of the address with the most goes
// first, those in use never, and those with a valid credential last.
func TestIdlestFirst(t *testing.T) {
	const most = 64
	a := newAccepting(most)
	oldest := a.open(1, "192.0.2.9") // the idlest of all, and alone at its address
	used := a.open(1, "192.0.2.1")
	used.begin()
	good := a.open(1, "192.0.2.1")
	good.Vouch()
	first := a.open(1, "192.0.2.1")
	a.open(27, "192.0.2.1")
	a.open(25, "192.0.2.2")
	for range 6 { // more than are left, each from an address of its own
		if a.open(1, fmt.Sprintf("203.0.113.%d", len(a.all))) == nil {
			t.Fatal("a newcomer is refused beside quiet connections")
		}
	}
	if !closed(first) || closed(oldest) || closed(used) || closed(good) {
		t.Errorf("closed: the idlest of the crowd %v, one alone %v, one in use %v, one with a credential %v", closed(first), closed(oldest), closed(used), closed(good))
	}
	if total, counts := a.conns.open(); total > most || counts.idlest == 0 || counts.refused != 0 {
		t.Errorf("%d open, %+v", total, counts)
	}
	used.end()
	if since := used.quiet.Load(); since != int64(a.clock) {
		t.Errorf("quiet since %d, not since its request ended", since)
	}
}

// An eighth is kept for addresses that a valid credential came from, also after
// their connections have ended.
func TestKnownAddresses(t *testing.T) {
	const most = 64
	a := newAccepting(most)
	known := a.open(1, "198.51.100.7")
	known.Vouch()
	known.Close()
	for i := range 2 * most {
		if c := a.open(1, fmt.Sprintf("203.0.113.%d", i)); c != nil {
			c.begin() // none is ever quiet
		}
	}
	if total := a.total; total != most-most/knownShare {
		t.Errorf("strangers hold %d of %d", total, most)
	}
	for i := range most / knownShare {
		if c := a.open(1, "198.51.100.7"); c == nil || c.probation {
			t.Fatalf("connection %d of a known address is not served", i)
		} else {
			c.begin()
		}
	}
	if c := a.open(1, "198.51.100.7"); c != nil && !c.probation {
		t.Error("a known address gets more connections than there are")
	}
}

// With every connection in use, newcomers are on probation, and those are bounded,
// too. The idlest of them makes place.
func TestProbation(t *testing.T) {
	a := newAccepting(8)
	for i := range 8 {
		a.open(1, fmt.Sprintf("203.0.113.%d", i)).begin()
	}
	if a.total != 7 || !a.all[7].probation {
		t.Errorf("%d connections are served", a.total)
	}
	for i := range 3 * probation {
		a.open(1, fmt.Sprintf("192.0.2.%d", i))
	}
	if total, counts := a.conns.open(); total > 7+probation || counts.refused == 0 {
		t.Errorf("%d open, %+v", total, counts)
	}
	if closed(a.all[len(a.all)-1]) {
		t.Error("the newest connection on probation is closed, not the idlest")
	}
	for _, c := range a.all {
		if c.probation && !closed(c) {
			c.begin()
		}
	}
	if a.open(1, "192.0.2.200") != nil {
		t.Error("a newcomer is taken beyond every bound")
	}
	for _, c := range a.all {
		c.Close()
	}
	if total, _ := a.conns.open(); total != 0 || len(a.hosts) != 0 {
		t.Errorf("after the end %d connections and %d addresses are counted", total, len(a.hosts))
	}
}

// The memory of addresses is bounded.
func TestRememberedAddresses(t *testing.T) {
	a := newAccepting(8)
	for i := range 2 * maxKnown {
		c := a.take(&wire{from: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})})
		c.Vouch()
		c.Close()
	}
	if n := len(a.hosts); n > 8+maxKnown+1 {
		t.Errorf("%d addresses are remembered", n)
	}
	a.clock += knownFor
	for range maxKnown {
		a.open(1, "192.0.2.1").Close()
	}
	if n := len(a.hosts); n > maxKnown/2 {
		t.Errorf("%d addresses are remembered for longer than an hour", n)
	}
}

// from dials s from an address of loopback.
func from(t *testing.T, s *Server, ip string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A PROXY header moves a connection to the client that it names.
func TestProxyProtocolBound(t *testing.T) {
	c := config(nil)
	c.MaxConns, c.Trusted = 20, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	c.ProxyProtocol = c.Trusted
	s := run(t, c)
	header := "PROXY TCP4 198.51.100.7 127.0.0.1 1234 80\r\n"
	for range 3 * c.MaxConns {
		conn := from(t, s, "127.0.0.1")
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write([]byte(header + "GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n == 0 {
			t.Fatalf("a newcomer is not answered: %v", err)
		}
	}
	s.conns.mu.Lock()
	n := len(s.conns.hostLocked(netip.MustParseAddr("198.51.100.7")).conns)
	s.conns.mu.Unlock()
	if n == 0 || n > c.MaxConns/addressShare {
		t.Errorf("one client behind a proxy holds %d connections of %d", n, c.MaxConns)
	}
	if got := talk(t, s, strings.Replace(header, ".7", ".8", 1)+get); !strings.Contains(got, "hello") {
		t.Errorf("another client behind it gets %q", got)
	}
}
