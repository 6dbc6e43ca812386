package nodetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/node/mesh"
)

// Net is a network in memory, with TCP and UDP as far as nodes use them. Hosts
// are numbered. A cut way swallows: data sent on it waits (TCP) or is lost (UDP),
// and a dial waits for an answer, as behind a firewall that drops.
type Net struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*listener
	sockets   map[netip.AddrPort]*socket
	owners    map[netip.AddrPort]int // also of addresses without a listener now
	conns     map[*conn]struct{}
	cut       map[way]bool
	down      map[int]bool
	delay     time.Duration
	port      uint16
	changed   chan struct{} // closed when anything above changes
}

// way is a direction between two hosts.
type way struct{ from, to int }

// NewNet returns a network in which nothing is cut.
func NewNet() *Net {
	return &Net{
		listeners: map[netip.AddrPort]*listener{}, sockets: map[netip.AddrPort]*socket{}, owners: map[netip.AddrPort]int{},
		conns: map[*conn]struct{}{}, cut: map[way]bool{}, down: map[int]bool{}, port: 40000, changed: make(chan struct{}),
	}
}

// Host is the network as host i sees it.
func (n *Net) Host(i int) mesh.Net { return host{n, i} }

// Address is an address of host i; another port is another address.
func Address(i, port int) string { return fmt.Sprintf("10.0.0.%d:%d", i+1, port) }

// Alias is another address that leads to the listener at address, as a second
// name in the DNS would.
func Alias(address string) string { return strings.Replace(address, "10.0.", "10.1.", 1) }

// aliased is the address that is listened at, where at is an alias of it.
func aliased(at netip.AddrPort) netip.AddrPort {
	if ip := at.Addr().Unmap(); ip.Is4() {
		b := ip.As4()
		b[1] = 0
		return netip.AddrPortFrom(netip.AddrFrom4(b), at.Port())
	}
	return at
}

func (n *Net) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// Cut cuts both ways between i and j.
func (n *Net) Cut(i, j int) {
	n.change(func() { n.cut[way{i, j}], n.cut[way{j, i}] = true, true })
}

// CutOneWay swallows everything from i to j; j still reaches i.
func (n *Net) CutOneWay(i, j int) { n.change(func() { n.cut[way{i, j}] = true }) }

// Mend undoes Cut between i and j.
func (n *Net) Mend(i, j int) {
	n.change(func() { delete(n.cut, way{i, j}); delete(n.cut, way{j, i}) })
}

// Isolate cuts i off from hosts 0 to 15.
func (n *Net) Isolate(i int) {
	for j := range 16 {
		if j != i {
			n.Cut(i, j)
		}
	}
}

// Heal undoes every cut; data that waited arrives.
func (n *Net) Heal() { n.change(func() { clear(n.cut) }) }

// Delay makes everything that is sent from now on take d.
func (n *Net) Delay(d time.Duration) { n.change(func() { n.delay = d }) }

// crash resets the connections of host i and silences it.
func (n *Net) crash(i int) {
	n.change(func() {
		n.down[i] = true
		for c := range n.conns {
			if c.in.from == i || c.in.to == i {
				c.in.reset()
				c.out.reset()
			}
		}
	})
}

func (n *Net) revive(i int) { n.change(func() { delete(n.down, i) }) }

// open reports whether anything sent on w arrives and after which delay; the channel
// is closed when that changes.
func (n *Net) open(w way) (bool, time.Duration, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[w], n.delay, n.changed
}

// host implements [mesh.Net].
type host struct {
	net  *Net
	self int
}

func refused(op string, at netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: err}
}

func (h host) Listen(_, addr string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	l := &listener{net: h.net, owner: h.self, at: at, in: make(chan *conn, 128), done: make(chan struct{})}
	h.net.change(func() {
		if h.net.listeners[at] != nil {
			err = refused("listen", at, syscall.EADDRINUSE)
			return
		}
		h.net.listeners[at], h.net.owners[at] = l, h.self
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (h host) ListenPacket(_, addr string) (net.PacketConn, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	s := &socket{net: h.net, owner: h.self, at: at, in: make(chan packet, 1024), done: make(chan struct{})}
	h.net.change(func() { h.net.sockets[at] = s })
	return s, nil
}

func (h host) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	at = aliased(at)
	n := h.net
	for {
		n.mu.Lock()
		owner, known := n.owners[at]
		l, changed := n.listeners[at], n.changed
		there, back := way{h.self, owner}, way{owner, h.self}
		switch {
		case n.down[h.self]:
			n.mu.Unlock()
			return nil, refused("dial", at, syscall.ENETDOWN)
		case known && (n.cut[there] || n.cut[back]):
			n.mu.Unlock()
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, refused("dial", at, context.Cause(ctx))
			}
		case l == nil || n.down[owner]:
			n.mu.Unlock()
			return nil, refused("dial", at, syscall.ECONNREFUSED)
		}
		n.port++
		from := netip.AddrPortFrom(netip.MustParseAddrPort(Address(h.self, 1)).Addr(), n.port)
		out, in := newFlow(n, there), newFlow(n, back)
		mine := newConn(n, in, out, from, at)
		theirs := newConn(n, out, in, at, from)
		n.conns[mine], n.conns[theirs] = struct{}{}, struct{}{}
		n.mu.Unlock()
		select {
		case l.in <- theirs:
			return mine, nil
		case <-l.done:
		case <-ctx.Done():
		}
		mine.Close()
		theirs.Close()
		return nil, refused("dial", at, syscall.ECONNREFUSED)
	}
}

type listener struct {
	net   *Net
	owner int
	at    netip.AddrPort
	in    chan *conn
	done  chan struct{}
	once  sync.Once
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.change(func() {
			if l.net.listeners[l.at] == l {
				delete(l.net.listeners, l.at)
			}
		})
		close(l.done)
		for {
			select {
			case c := <-l.in:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// socket is one UDP port.
type socket struct {
	net   *Net
	owner int
	at    netip.AddrPort
	in    chan packet
	done  chan struct{}
	once  sync.Once
}

type packet struct {
	from netip.AddrPort
	data []byte
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-s.in:
		return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
	case <-s.done:
		return 0, nil, net.ErrClosed
	}
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	at, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return 0, err
	}
	n := s.net
	n.mu.Lock()
	peer, delay := n.sockets[at], n.delay
	lost := peer == nil || n.cut[way{s.owner, peer.owner}] || n.down[s.owner] || n.down[peer.owner]
	n.mu.Unlock()
	if lost {
		return len(b), nil
	}
	p := packet{s.at, append([]byte(nil), b...)}
	arrive := func() {
		select {
		case peer.in <- p:
		default:
		}
	}
	if delay == 0 {
		arrive()
	} else {
		time.AfterFunc(delay, arrive)
	}
	return len(b), nil
}

func (s *socket) Close() error {
	s.once.Do(func() {
		s.net.change(func() {
			if s.net.sockets[s.at] == s {
				delete(s.net.sockets, s.at)
			}
		})
		close(s.done)
	})
	return nil
}

func (s *socket) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(s.at) }
func (s *socket) SetDeadline(time.Time) error      { return nil } // none is used
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
