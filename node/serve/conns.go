package serve

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The shares of a listener's connections, and the bounds on the memory of their
// addresses. An address is one of IPv4, or a /64 of IPv6.
const (
	addressShare = 2  // one address holds at most 1/2 of all connections
	knownShare   = 8  // 1/8 of all is kept for addresses that are known
	batchShare   = 64 // so many connections, 1/64 of all, are closed at a time

	// A quiet connection on which a valid credential came in is closed for a stranger
	// only if its address holds more than 1/16 of all connections.
	crowdShare = 16

	probation = 16              // connections beyond all bounds, which get the probes and 503
	knownFor  = time.Hour       // after the last valid credential of an address
	maxKnown  = 8192            // addresses without a connection that are remembered
	barrenFor = time.Second / 8 // between two searches if the first found no quiet connection
)

// conns are the open connections of a listener, within the bounds: MaxConns in all,
// a share of them for each address. A newcomer beyond a bound takes the place of
// connections that are quiet, which have no request under way: of its own address
// if that is at its bound, else of the address with the most, the idlest first.
// Those on which a valid credential came in are closed last. If none is quiet, the
// newcomer is on probation.
type conns struct {
	max     int
	trusted []netip.Prefix // proxies: their addresses stand for many clients and have no bound of their own
	now     func() time.Duration

	onProbation atomic.Int64 // written with mu held

	mu     sync.Mutex // guards the fields below and those of hosts; never held while bytes move
	total  int        // without those on probation
	hosts  map[netip.Addr]*host
	barren time.Duration // until then, all connections are taken to be busy
	counts connCounts
}

// connCounts count since the start.
type connCounts struct {
	crowded int64 // quiet connections closed because their address was at its bound
	idlest  int64 // quiet connections closed because all were taken
	refused int64 // newcomers closed at once, or served on probation
}

// host is an address with its connections. conns.mu guards it.
type host struct {
	addr    netip.Addr
	trusted bool
	known   time.Duration // until then, for a valid credential came from it; 0 is never
	barren  time.Duration // until then, its connections are taken to be busy
	conns   map[*conn]struct{}
}

// conn is one accepted TCP connection.
type conn struct {
	net.Conn
	of        *conns
	probation bool // set once, before it is served
	good      atomic.Bool
	quiet     atomic.Int64 // when its last request ended, or it was accepted; or busy, or closing
	host      *host        // nil once it is closed; guarded by of.mu
}

// The values of conn.quiet that are no times.
const (
	busy    = -1
	closing = -2
)

func newConns(most int, trusted []netip.Prefix) *conns {
	start := time.Now()
	return &conns{
		max: most, trusted: trusted, hosts: map[netip.Addr]*host{},
		now: func() time.Duration { return time.Since(start) },
	}
}

func (s *conns) perAddress() int { return max(1, s.max/addressShare) }

// take registers raw, and closes the connections in its place. nil means that there
// is no place: raw is closed.
func (s *conns) take(raw net.Conn) *conn {
	c := &conn{Conn: raw, of: s}
	s.mu.Lock()
	h := s.hostLocked(addressOf(raw.RemoteAddr()))
	closed, room := s.roomLocked(h)
	if !room {
		s.counts.refused++
		c.probation = true
		if s.onProbation.Load() >= probation {
			closed = append(closed, s.closeLocked(1, nil, func(old *conn) bool { return old.probation })...)
		}
	}
	if room || s.onProbation.Load() < probation {
		c.quiet.Store(int64(s.now()))
		s.enterLocked(c, h)
	} else {
		s.forgetHostLocked(h)
		c = nil
	}
	s.mu.Unlock()
	for _, old := range closed {
		old.Conn.Close()
	}
	if c == nil {
		raw.Close()
	}
	return c
}

// roomLocked makes room for one more connection of h. It returns the connections
// that the caller must close, and whether there is room.
func (s *conns) roomLocked(h *host) (closed []*conn, room bool) {
	closed, room = s.roomOfLocked(h)
	limit := s.max
	if !s.isKnown(h) {
		limit = max(1, limit-limit/knownShare)
	}
	switch {
	case !room:
		return nil, false
	case s.total < limit:
		return closed, true
	case s.now() < s.barren:
		return closed, false
	}
	more := s.closeLocked(max(1, s.max/batchShare), nil, func(c *conn) bool {
		return !c.probation && (s.isKnown(h) || !s.keeps(c))
	})
	s.counts.idlest += int64(len(more))
	if len(more) == 0 {
		s.barren = s.now() + barrenFor
	}
	return append(closed, more...), len(more) > 0
}

// roomOfLocked is roomLocked for the bound of h's address alone.
func (s *conns) roomOfLocked(h *host) (closed []*conn, room bool) {
	switch {
	case h.trusted || len(h.conns) < s.perAddress():
		return nil, true
	case s.now() < h.barren:
		return nil, false
	}
	closed = s.closeLocked(max(1, s.perAddress()/batchShare), h, func(*conn) bool { return true })
	s.counts.crowded += int64(len(closed))
	if len(closed) == 0 {
		h.barren = s.now() + barrenFor
	}
	return closed, len(closed) > 0
}

func (s *conns) isKnown(h *host) bool { return h.trusted || h.known > s.now() }

// keeps reports whether c is not closed for a stranger.
func (s *conns) keeps(c *conn) bool {
	return c.good.Load() && (c.host.trusted || len(c.host.conns) <= max(1, s.max/crowdShare))
}

// closeLocked forgets up to n of the quiet connections that may be closed, of all
// addresses or of one, and returns them. The search looks at every connection, for
// some milliseconds at most; in relation to n that is little for each newcomer.
func (s *conns) closeLocked(n int, one *host, may func(*conn) bool) []*conn {
	type candidate struct {
		*conn
		since int64
		keep  bool
		crowd int // connections of its address
	}
	var all []candidate
	look := func(h *host) {
		for c := range h.conns {
			if since := c.quiet.Load(); since >= 0 && may(c) {
				all = append(all, candidate{c, since, c.good.Load(), len(h.conns)})
			}
		}
	}
	if one != nil {
		look(one)
	} else {
		for _, h := range s.hosts {
			look(h)
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		switch {
		case a.keep != b.keep && a.keep:
			return 1
		case a.keep != b.keep:
			return -1
		case a.crowd != b.crowd:
			return b.crowd - a.crowd
		}
		return int(min(1, max(-1, a.since-b.since)))
	})
	var out []*conn
	for _, c := range all {
		if len(out) == n {
			break
		}
		if c.quiet.CompareAndSwap(c.since, closing) { // else a request has just come in
			s.leaveLocked(c.conn)
			out = append(out, c.conn)
		}
	}
	return out
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
	c.host, h.conns[c] = h, struct{}{}
	if c.probation {
		s.onProbation.Add(1)
	} else {
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
		s.onProbation.Add(-1)
	} else {
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
// reports whether there is room for it.
func (s *conns) move(c *conn, ip netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.host == nil {
		return false
	}
	s.leaveLocked(c)
	h := s.hostLocked(ip)
	closed, room := s.roomOfLocked(h)
	if room {
		s.enterLocked(c, h)
	} else {
		s.counts.refused++
		s.forgetHostLocked(h)
	}
	for _, old := range closed {
		old.Conn.Close() // does not wait
	}
	return room
}

// open is the number of open connections.
func (s *conns) open() (n int, counts connCounts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total + int(s.onProbation.Load()), s.counts
}

// Close closes the connection and frees its place.
func (c *conn) Close() error {
	c.of.mu.Lock()
	c.of.leaveLocked(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
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
	for old := c.quiet.Load(); old != closing && !c.quiet.CompareAndSwap(old, busy); old = c.quiet.Load() {
	}
}

func (c *conn) end() { c.quiet.CompareAndSwap(busy, int64(c.of.now())) }

// addressOf is the IP address of a; invalid if it has none.
func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
