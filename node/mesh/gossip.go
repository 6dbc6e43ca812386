package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	maxPacket   = 1500 // bytes of a datagram; larger ones are dropped
	packetQueue = 1024 // unread datagrams; further ones are dropped
)

// gossip is memberlist's transport: packets on the UDP socket, streams on
// authenticated connections. memberlist itself encrypts both with the gossip keys.
type gossip struct {
	mesh    *Mesh
	streams *streams
	in      chan *memberlist.Packet
	conns   chan net.Conn
	used    atomic.Bool                    // memberlist reads in
	ip      atomic.Pointer[netip.AddrPort] // of the advertised host, once resolved
}

func newGossip(m *Mesh) *gossip {
	s := newStreams(m)
	return &gossip{mesh: m, streams: s, conns: s.ch, in: make(chan *memberlist.Packet, packetQueue)}
}

var _ memberlist.NodeAwareTransport = (*gossip)(nil)

// Gossip returns the transport of one memberlist; see [NewMembers], which uses it.
func (m *Mesh) Gossip() memberlist.Transport {
	m.gossip.used.Store(true)
	return m.gossip
}

// receive passes datagrams to memberlist until the socket is closed.
func (g *gossip) receive() {
	var buf [maxPacket + 1]byte
	for {
		n, from, err := g.mesh.packets.ReadFrom(buf[:])
		now := time.Now()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || g.mesh.ctx.Err() != nil {
				return
			}
			// On some systems an ICMP answer to a packet that was sent is reported here.
			g.mesh.log.Debug("receive gossip", "error", err)
			g.mesh.pause(time.Millisecond)
			continue
		}
		if n == 0 || n > maxPacket || !g.used.Load() {
			continue
		}
		select {
		case g.in <- &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: now}:
		default: // gossip is repeated
		}
	}
}

// resolve looks up the IP address of the advertised host, for memberlist knows no
// names. The address may change, so that this is repeated from time to time.
func (g *gossip) resolve(ctx context.Context) error {
	at, err := resolve(ctx, string(g.mesh.self))
	if err != nil {
		return fmt.Errorf("resolve the advertised address %q: %w; set cluster.advertise to an address that resolves", g.mesh.self, err)
	}
	g.ip.Store(&at)
	return nil
}

// resolve returns the IP address of a host:port: the first IPv4 one, else the first.
func resolve(ctx context.Context, addr string) (netip.AddrPort, error) {
	if at, err := netip.ParseAddrPort(addr); err == nil {
		return at, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	best := ips[0]
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			best = ip
			break
		}
	}
	return netip.AddrPortFrom(best.Unmap(), uint16(n)), nil
}

// FinalAdvertiseAddr returns the resolved address; memberlist's own configuration is
// ignored.
func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	at := g.ip.Load()
	if at == nil {
		if err := g.resolve(g.mesh.ctx); err != nil {
			return nil, 0, err
		}
		at = g.ip.Load()
	}
	return at.Addr().AsSlice(), int(at.Port()), nil
}

func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	if len(b) > maxPacket {
		return time.Time{}, fmt.Errorf("gossip to %s: %w: a packet of %d bytes", addr, ErrTooLarge, len(b))
	}
	_, err = g.mesh.packets.WriteTo(b, net.UDPAddrFromAddrPort(at))
	return time.Now(), err
}

func (g *gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.in }

func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout connects to a, to the node that it names if it names one.
func (g *gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.mesh.ctx, timeout)
	defer cancel()
	c, err := g.mesh.dial(ctx, a.Addr, protoGossip, a.Name)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (g *gossip) StreamCh() <-chan net.Conn { return g.conns }

// Shutdown ends the streams. The mesh closes the socket.
func (g *gossip) Shutdown() error {
	g.used.Store(false)
	return g.streams.Close()
}
