package serve

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// The shares of a listener's connections, and the bounds on the memory of their
// addresses. An address is one of IPv4, or a /64 of IPv6.
const (
	addressShare = 2  // one address holds at most 1/2 of all connections
	knownShare   = 8  // 1/8 of all is kept for addresses that are known
	batchShare   = 64 // so many connections, 1/64 of all, are closed at a time
	crowdShare   = 16 // an address with more than 1/16 of all is a crowd

	probation      = 16               // connections beyond all bounds, which get the probes and 503
	probationShare = 4                // one address holds at most 1/4 of those
	knownFor       = time.Hour        // after the last valid credential of an address
	maxKnown       = 8192             // addresses without a connection that are remembered
	barrenFor      = time.Second / 8  // between two searches if the first found no connection to close
	turn           = 10 * time.Second // of a stranger, before newcomers of its address or of a crowd
)

// conns are the open connections of a listener, within the bounds: MaxConns in all,
// a share of them for each address. A newcomer beyond a bound takes the place of
// connections that are quiet, which have no request under way: of its own address
// if that is at its bound, else of the address with the most, the idlest first.
// Those on which a valid credential came in are closed last.
//
// If none is quiet, it takes the place of requests of strangers, which came without a
// valid credential: of those of its own address that have been under way for a turn, or
// of those of crowds if its own address is known or no crowd. Bodies that trickle in from
// a few addresses so keep nobody out, nor do further ones: a newcomer of a crowd closes
// no connection of another address that has been quiet for less than a turn, unless it
// is known and the other is not. If there is none to be closed, the newcomer is on
// probation.
//
// Trusted proxies stand for many clients, crowds among them. A request of a stranger that
// came by one is cut after a turn if the proxy has as many connections as a crowd, or at
// once for an address that is known and no proxy. On their connections, a credential
// vouches for the request that it came with, since the next one is another client's.
type conns struct {
	max     int
	trusted []netip.Prefix // proxies: their addresses stand for many clients and have no bound of their own
	now     func() time.Duration
	full    func(addr net.Addr, reason string, n int) // told of connections that made way for addr's, or of one on probation; nil: nobody

	mu       sync.Mutex // guards the fields below and those of hosts; never held while bytes move
	total    int        // without those on probation
	hosts    map[netip.Addr]*host
	probated map[*conn]struct{}         // those on probation
	barren   map[newcomer]time.Duration // until then, such a newcomer finds no connection to close
	counts   connCounts
}

// connCounts count since the start.
type connCounts struct {
	crowded int64 // connections closed because their address was at its bound
	idlest  int64 // quiet connections closed because all were taken
	cut     int64 // connections of crowds closed with a request under way because all were taken
	refused int64 // newcomers served on probation
}

// newcomer is the part of a new connection's address that decides about the
// connections which it may take the place of.
type newcomer struct{ known, crowd, trusted bool }

// host is an address with its connections. conns.mu guards it.
type host struct {
	addr    netip.Addr
	trusted bool
	known   time.Duration // until then, for a valid credential came from it; 0 is never
	barren  time.Duration // until then, none of its connections can be closed for another
	conns   map[*conn]struct{}
	served  int // of conns, those that are not on probation
}

// conn is one accepted TCP connection.
type conn struct {
	net.Conn
	of        *conns
	probation bool // set before it is served
	shared    bool // of a trusted proxy; set before it is served
	good      atomic.Bool
	since     atomic.Int64 // when its last request ended, or it was accepted; or ^ when one began; or closing
	host      *host        // nil once it is closed; guarded by of.mu
}

const closing = math.MinInt64 // the value of conn.since that is no time

func newConns(most int, trusted []netip.Prefix) *conns {
	start := time.Now()
	return &conns{
		max: most, trusted: trusted, hosts: map[netip.Addr]*host{}, probated: map[*conn]struct{}{}, barren: map[newcomer]time.Duration{},
		now: func() time.Duration { return time.Since(start) },
	}
}

// take registers raw, and closes the connections in its place.
func (s *conns) take(raw net.Conn) *conn {
	c := &conn{Conn: raw, of: s}
	s.mu.Lock()
	before := s.counts
	h := s.hostLocked(addressOf(raw.RemoteAddr()))
	closed, room := s.roomLocked(h)
	if !room {
		closed = append(closed, s.probateLocked(c, h)...)
	}
	c.since.Store(int64(s.now()))
	s.enterLocked(c, h)
	after := s.counts
	s.mu.Unlock()
	for _, old := range closed {
		old.Conn.Close()
	}
	s.tell(raw.RemoteAddr(), before, after)
	return c
}

// tell reports what a newcomer from addr has changed.
func (s *conns) tell(addr net.Addr, before, after connCounts) {
	if s.full == nil || before == after {
		return
	}
	for _, c := range []struct {
		reason        string
		before, after int64
	}{
		{"address", before.crowded, after.crowded}, {"idlest", before.idlest, after.idlest},
		{"request", before.cut, after.cut}, {"refused", before.refused, after.refused},
	} {
		if n := c.after - c.before; n > 0 {
			s.full(addr, c.reason, int(n))
		}
	}
}

// hostLocked is the entry that the address ip is counted in.
func (s *conns) hostLocked(ip netip.Addr) *host {
	trusted := slices.ContainsFunc(s.trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
	if ip.Is6() && !trusted {
		p, _ := ip.Prefix(64) // 64 is no wrong length
		ip = p.Addr()
	}
	h := s.hosts[ip]
	if h == nil {
		h = &host{addr: ip, trusted: trusted, conns: map[*conn]struct{}{}}
		s.sweepLocked()
		s.hosts[ip] = h
	}
	return h
}

func (s *conns) enterLocked(c *conn, h *host) {
	s.hosts[h.addr] = h // closing others may have removed it
	c.host, h.conns[c], c.shared = h, struct{}{}, h.trusted
	if c.probation {
		s.probated[c] = struct{}{}
	} else {
		h.served++
		s.total++
	}
}

// leaveLocked forgets c.
func (s *conns) leaveLocked(c *conn) {
	h := c.host
	if h == nil {
		return
	}
	c.host = nil
	delete(h.conns, c)
	if c.probation {
		delete(s.probated, c)
	} else {
		h.served--
		s.total--
	}
	if c.good.Load() {
		h.known = s.now() + knownFor
	}
	s.forgetHostLocked(h)
}

// forgetHostLocked removes an address without connections, unless it is known and
// there is room to remember it.
func (s *conns) forgetHostLocked(h *host) {
	if len(h.conns) > 0 {
		return
	}
	if h.known <= s.now() || len(s.hosts) > s.max+maxKnown {
		delete(s.hosts, h.addr)
	}
}

// sweepLocked removes some of the addresses that are not known any more.
func (s *conns) sweepLocked() {
	looked := 0
	for _, h := range s.hosts { // begins anywhere: in the long run it meets all
		if looked++; looked > 8 {
			return
		}
		s.forgetHostLocked(h)
	}
}

// move counts c for the address ip, which a PROXY header has named as its client. It
// is on probation from then on if there is no room for it.
func (s *conns) move(c *conn, ip netip.Addr) {
	var before, after connCounts
	defer func() { s.tell(&net.TCPAddr{IP: ip.AsSlice()}, before, after) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.host == nil {
		return // closed meanwhile
	}
	before = s.counts
	defer func() { after = s.counts }()
	s.leaveLocked(c)
	h := s.hostLocked(ip)
	closed, room := s.roomOfLocked(h)
	if c.probation || !room {
		closed = append(closed, s.probateLocked(c, h)...)
	}
	s.enterLocked(c, h)
	for _, old := range closed {
		old.Conn.Close() // does not wait
	}
}

// open is the number of open connections.
func (s *conns) open() (n int, counts connCounts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total + len(s.probated), s.counts
}

// Close closes the connection and frees its place.
func (c *conn) Close() error {
	c.of.mu.Lock()
	c.of.leaveLocked(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// TCPConn is the connection itself, which h1 reads and writes directly; nil if it is none
// of TCP.
func (c *conn) TCPConn() *net.TCPConn {
	tcp, _ := c.Conn.(*net.TCPConn)
	return tcp
}

// LoopConn is the connection itself, if loops can have it; else nil.
func (c *conn) LoopConn() *loop.Conn {
	lc, _ := c.Conn.(*loop.Conn)
	return lc
}

// CloseWrite passes on the end of a tunnel's other side.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger lets an answer that breaks off end with a reset.
func (c *conn) SetLinger(seconds int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}

// Vouch implements [admit.Voucher].
func (c *conn) Vouch() {
	if c.good.Swap(true) {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.host != nil {
		c.host.known = c.of.now() + knownFor
	}
}

// begin notes that a request is under way, end that none is.
func (c *conn) begin() {
	if c.shared {
		c.good.Store(false)
	}
	now := int64(c.of.now())
	for old := c.since.Load(); old >= 0 && !c.since.CompareAndSwap(old, ^now); old = c.since.Load() {
	}
}

func (c *conn) end() {
	if old := c.since.Load(); old < 0 && old != closing {
		c.since.CompareAndSwap(old, int64(c.of.now())) // else it has just been closed
	}
}

// addressOf is the IP address of a; invalid if it has none.
func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
