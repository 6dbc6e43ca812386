package mesh

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// waiting is how many connections wait to be taken, and acceptTimeout for how
// long one is kept: who takes them may be stopping.
const (
	waiting       = 16
	acceptTimeout = 5 * time.Second
)

// streams is the listener of one protocol, fed with connections that are
// authenticated. It closes neither the mesh nor what was taken from it.
type streams struct {
	mesh *Mesh
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newStreams(m *Mesh) *streams {
	return &streams{mesh: m, ch: make(chan net.Conn, waiting), done: make(chan struct{})}
}

// put hands c to Accept, or closes it.
func (s *streams) put(c *conn) {
	t := time.NewTimer(acceptTimeout)
	defer t.Stop()
	select {
	case <-s.done: // else select may choose ch
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
	want func(addr string) string
}

// RaftLayer is what raft.NewNetworkTransport runs on; there is one. Its address
// is the advertised one.
//
// want names the node that has to answer at an address, "" for any of the
// cluster; nil is "" for all. Raft itself knows only addresses: a node that lost
// its disk and came back at the old one's would take the old one's entries and
// its vote.
func (m *Mesh) RaftLayer(want func(addr string) (nodeID string)) raft.StreamLayer {
	if want == nil {
		want = func(string) string { return "" }
	}
	return &raftLayer{m.raft, want}
}

// Dial connects to another node's raft within timeout.
func (l *raftLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 {
		timeout = dialTimeout + handshakeTimeout
	}
	ctx, cancel := context.WithTimeout(l.mesh.ctx, timeout)
	defer cancel()
	c, err := l.mesh.dial(ctx, string(addr), protoRaft, l.want(string(addr)))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Direct connects to the node want at addr for messages of the caller's own form,
// where a call costs too much. The other side takes the connection from
// [Mesh.AcceptDirect].
func (m *Mesh) Direct(ctx context.Context, addr, want string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+handshakeTimeout)
	defer cancel()
	c, err := m.dial(ctx, addr, protoDirect, want)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptDirect returns the next such connection and the node that made it. It
// fails when the mesh is closed.
func (m *Mesh) AcceptDirect() (c net.Conn, peer string, err error) {
	if c, err = m.direct.Accept(); err != nil {
		return nil, "", ErrClosed
	}
	return c, c.(*conn).peer, nil
}
