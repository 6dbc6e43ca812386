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
	all   []*conn        // every one that was taken
	told  map[string]int // connections that the log was told of, by reason
}

func newAccepting(most int, trusted ...string) *accepting {
	a := &accepting{}
	var proxies []netip.Prefix
	for _, s := range trusted {
		proxies = append(proxies, netip.MustParsePrefix(s))
	}
	a.conns = newConns(most, proxies)
	a.conns.now = func() time.Duration { return a.clock }
	a.told = map[string]int{}
	a.conns.full = func(addr net.Addr, reason string, n int) {
		if fullTexts[reason] == "" || addr == nil {
			panic("there is no line for " + reason)
		}
		a.told[reason] += n
	}
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
	a.checkTold(t, "address")
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
	a.checkTold(t, "idlest")
	used.end()
	if since := used.since.Load(); since != int64(a.clock) {
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

// With every connection in use and no crowd, newcomers are on probation, and those are
// bounded, too, in all and for each address. There is always a place: the idlest of the
// address with the most makes it, else the request that has lasted longest.
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
	if total, counts := a.conns.open(); total != 7+probation || counts.refused == 0 || counts.cut != 0 {
		t.Errorf("%d open, %+v", total, counts)
	}
	a.checkTold(t, "refused")
	if closed(a.all[len(a.all)-1]) {
		t.Error("the newest connection on probation is closed, not the idlest")
	}
	probe := a.open(1, "198.51.100.7")
	for i := range 40 { // none of them is ever quiet
		a.open(1, fmt.Sprintf("192.0.2.%d", 1+i%2)).begin()
	}
	if closed(probe) {
		t.Error("two addresses keep another one out")
	}
	for _, c := range a.all[8:] {
		c.Close()
	}
	longest := a.open(1, "192.0.2.1")
	longest.begin()
	for i := range 40 {
		a.open(1, fmt.Sprintf("192.0.2.%d", 1+i%3)).begin()
	}
	for _, ip := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		if n := a.left(ip); n != probation/probationShare {
			t.Errorf("one address holds %d places on probation", n)
		}
	}
	if !closed(longest) || closed(a.all[len(a.all)-1]) {
		t.Errorf("closed: the request that has lasted longest %v, the newest one %v", closed(longest), closed(a.all[len(a.all)-1]))
	}
	for _, c := range a.all {
		c.Close()
	}
	if total, _ := a.conns.open(); total != 0 || len(a.hosts) != 0 {
		t.Errorf("after the end %d connections and %d addresses are counted", total, len(a.hosts))
	}
}

// busy opens n connections from an address and begins a request on each.
func (a *accepting) busy(n int, from string) {
	for range n {
		a.open(1, from).begin()
	}
}

// Requests of crowds that came without a valid credential make way for a newcomer of any
// other address, the one that has lasted longest first; for one of a crowd they do not.
func TestCrowdsMakeWay(t *testing.T) {
	const most = 64
	a := newAccepting(most)
	alone := a.open(1, "192.0.2.9") // the oldest request of all, and alone at its address
	alone.begin()
	good := a.open(1, "192.0.2.1")
	good.Vouch()
	good.begin()
	a.busy(1, "192.0.2.1")
	longest := a.all[2]
	a.busy(26, "192.0.2.1")
	a.busy(40, "192.0.2.2")
	if _, counts := a.conns.open(); counts.cut != 0 || counts.refused == 0 || a.total < most-most/knownShare {
		t.Fatalf("%d open, %+v: crowds make way for each other", a.total, counts)
	}
	a.clock += barrenFor
	customer := a.open(1, "198.51.100.7")
	if customer.probation || closed(alone) || closed(good) || !closed(longest) {
		t.Errorf("the newcomer is on probation: %v; closed: one alone %v, one with a credential %v, the one that lasted longest %v", customer.probation, closed(alone), closed(good), closed(longest))
	}
	// Further ones of a crowd neither close a young connection, which may be about to send
	// its request, nor stand in the way of the others with their vain search.
	a.busy(40, "192.0.2.2")
	if closed(customer) {
		t.Error("a crowd closes a connection that has just come")
	}
	customer.begin()
	if c := a.open(1, "198.51.100.8"); c.probation {
		t.Error("another newcomer is on probation")
	} else {
		c.begin()
	}
	if _, counts := a.conns.open(); counts.cut != 2 || counts.idlest != 0 {
		t.Errorf("%+v", counts)
	}
	customer.end()
	a.clock += turn
	a.busy(1, "192.0.2.2")
	if !closed(customer) {
		t.Error("a crowd does not close an idle connection")
	}
	a.checkTold(t, "request")
}

// A crowd that is known takes the place of the requests of another one, not of its own.
func TestKnownCrowd(t *testing.T) {
	const most = 64
	a := newAccepting(most)
	a.open(1, "198.51.100.7").Vouch()
	a.busy(11, "198.51.100.7")
	a.busy(25, "192.0.2.1")
	a.busy(25, "192.0.2.2")
	for range most {
		if c := a.open(1, "198.51.100.7"); c.probation {
			break // at its own bound
		} else {
			c.begin()
		}
	}
	if n := a.left("198.51.100.7"); n < most/addressShare {
		t.Errorf("a known address has %d connections of %d", n, most)
	}
	if _, counts := a.conns.open(); counts.cut == 0 {
		t.Errorf("%+v", counts)
	}
	// Its connections are safe from strangers' newcomers until they have been quiet for a
	// turn, and a stranger's are not safe from its own.
	fresh := a.all[5]
	fresh.end()
	a.clock += barrenFor
	a.busy(10, "192.0.2.1")
	if closed(fresh) {
		t.Error("a crowd closes a connection of a known one that has just been used")
	}
	b := newAccepting(most)
	b.open(1, "198.51.100.7").Vouch()
	b.busy(9, "198.51.100.7")
	for i := range most {
		b.open(1, fmt.Sprintf("203.0.113.%d", i))
	}
	for range most/addressShare - 10 {
		if c := b.open(1, "198.51.100.7"); c.probation {
			t.Fatal("a known address is on probation beside quiet strangers")
		} else {
			c.begin()
		}
	}
}

// At the bound of its own address, a newcomer takes the place of a stranger's request
// once that has had its turn.
func TestOwnTurn(t *testing.T) {
	const most = 64
	a := newAccepting(most)
	good := a.open(1, "192.0.2.1")
	good.Vouch()
	good.begin()
	a.busy(most/addressShare-1, "192.0.2.1")
	for range 10 { // those on probation do not count: another newcomer does not become the address's 33rd
		if c := a.open(1, "192.0.2.1"); !c.probation {
			t.Error("a request is cut before it has had its turn")
		}
		a.clock += barrenFor
	}
	a.clock += turn - 10*barrenFor
	if c := a.open(1, "192.0.2.1"); c.probation {
		t.Error("the newcomer is on probation")
	}
	if closed(good) || !closed(a.all[1]) || closed(a.all[2]) {
		t.Errorf("closed: one with a credential %v, the one that lasted longest %v, a later one %v", closed(good), closed(a.all[1]), closed(a.all[2]))
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
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: time.Minute}
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
		conn.SetDeadline(time.Now().Add(time.Minute))
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
