package mesh

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Bounds of the connections that wait for Accept, whose caller may be stopping.
const (
	waiting     = 16 // connections
	waitTimeout = 5 * time.Second
)

// streams is the listener of one protocol, which returns authenticated connections.
// Closing it closes neither the mesh nor connections that it has returned.
type streams struct {
	mesh *Mesh
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newStreams(m *Mesh) *streams {
	return &streams{mesh: m, ch: make(chan net.Conn, waiting), done: make(chan struct{})}
}

// put passes c to Accept, or closes it.
func (s *streams) put(c *conn) {
	t := time.NewTimer(waitTimeout)
	defer t.Stop()
	select {
	case <-s.done: // otherwise select may choose ch
		c.Close()
		return
	default:
	}
	select {
	case s.ch <- c:
	case <-s.done:
		c.Close()
	case <-t.C:
		c.Close()
	}
}

func (s *streams) Accept() (net.Conn, error) {
	select {
	case c := <-s.ch:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *streams) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

func (s *streams) Addr() net.Addr { return s.mesh.self }

// raftLayer is the stream layer of raft's network transport.
type raftLayer struct {
	*streams
	nodeAt func(addr string) (nodeID string)
}

// RaftLayer returns the stream layer for raft.NewNetworkTransport; a mesh has one.
// Its address is the advertised one.
//
// nodeAt returns the node that must answer at an address, "" for any node of the
// cluster; nil accepts any node everywhere. Raft itself knows only addresses: a node
// that lost its disk and returned at the address of the old one would receive the
// old one's entries and its vote.
func (m *Mesh) RaftLayer(nodeAt func(addr string) (nodeID string)) raft.StreamLayer {
	if nodeAt == nil {
		nodeAt = func(string) string { return "" }
	}
	return &raftLayer{m.raft, nodeAt}
}

// Dial connects to another node's raft within timeout.
func (l *raftLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 {
		timeout = dialTimeout + handshakeTimeout
	}
	ctx, cancel := context.WithTimeout(l.mesh.ctx, timeout)
	defer cancel()
	c, err := l.mesh.dial(ctx, string(addr), protoRaft, l.nodeAt(string(addr)))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Direct connects to the node nodeID at addr for messages in the caller's own format,
// where a call costs too much. The other side gets the connection from
// [Mesh.AcceptDirect].
func (m *Mesh) Direct(ctx context.Context, addr, nodeID string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+handshakeTimeout)
	defer cancel()
	c, err := m.dial(ctx, addr, protoDirect, nodeID)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptDirect returns the next connection of [Mesh.Direct] and the node that opened
// it. It fails once the mesh is closed.
func (m *Mesh) AcceptDirect() (c net.Conn, peer string, err error) {
	if c, err = m.direct.Accept(); err != nil {
		return nil, "", ErrClosed
	}
	return c, c.(*conn).peer, nil
}
