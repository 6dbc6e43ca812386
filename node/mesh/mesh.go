package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Mesh is an open cluster port. Its methods may be called at any time, also at
// once, and fail with [ErrClosed] after Close.
type Mesh struct {
	conf     Config
	log      *slog.Logger
	listener net.Listener
	packets  net.PacketConn
	self     address // advertised

	member   atomic.Pointer[member] // nil until the node joined
	secret   atomic.Pointer[[]byte]
	nameless tls.Certificate

	complained atomic.Int64 // when the log was last told of a stranger

	raft   *streams
	direct *streams
	gossip *gossip
	calls  calls
	joins  chan struct{} // holds one for each join request under way

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // everything that runs

	once      sync.Once // shut
	mu        sync.Mutex
	closed    bool
	conns     map[*conn]struct{} // all that are open, whoever began them
	strangers []*conn            // those that have proved nothing, oldest first
}

// conn is one TCP connection.
type conn struct {
	net.Conn // the TLS connection once there is one
	raw      net.Conn
	mesh     *Mesh
	peer     string // the other side's node id; "" before the handshake and for join. Guarded by mesh.mu until the handshake is over.
}

// Close takes leave of the peer and closes the connection.
func (c *conn) Close() error {
	c.mesh.forget(c)
	return c.Conn.Close()
}

// kill closes the connection at once; whoever uses it sees an error.
func (c *conn) kill() {
	c.raw.Close()
}

// Open binds the port and accepts connections until Close or the end of ctx.
func Open(ctx context.Context, c Config) (*Mesh, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m := &Mesh{conf: c, log: c.Logger, joins: make(chan struct{}, maxJoins), conns: map[*conn]struct{}{}}
	secret := slices.Clone(c.Secret)
	m.secret.Store(&secret)
	if c.Credentials != nil {
		if err := m.SetCredentials(c.Credentials); err != nil {
			return nil, err
		}
	}
	var err error
	if m.nameless, err = nameless(time.Now()); err != nil {
		return nil, fmt.Errorf("make a certificate for joins: %w", err)
	}
	if m.listener, m.packets, err = bind(c.Net, c.Listen); err != nil {
		return nil, fmt.Errorf("listen on %q for the cluster: %w", c.Listen, err)
	}
	if m.self, err = advertise(c.Advertise, c.Listen, m.listener.Addr()); err != nil {
		return nil, errors.Join(err, m.listener.Close(), m.packets.Close())
	}
	// Not ctx's child: shut has its own order.
	m.ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.raft = newStreams(m)
	m.direct = newStreams(m)
	m.gossip = newGossip(m)
	m.calls.open(m)
	m.wg.Go(m.accept)
	m.wg.Go(m.gossip.receive)
	m.wg.Go(m.calls.serve)
	context.AfterFunc(ctx, func() { m.once.Do(m.shut) })
	return m, nil
}

// bindTries is how often both numbers are tried when any port will do: UDP's may
// be another's.
const bindTries = 16

func bind(n Net, addr string) (net.Listener, net.PacketConn, error) {
	for try := 1; ; try++ {
		l, err := n.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		host, port, err := net.SplitHostPort(addr)
		_, bound, boundErr := net.SplitHostPort(l.Addr().String())
		if err := errors.Join(err, boundErr); err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
		p, err := n.ListenPacket("udp", net.JoinHostPort(host, bound))
		if err == nil {
			return l, p, nil
		}
		l.Close()
		if port != "0" || try == bindTries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, err
		}
	}
}

// Addr is the address that TCP is bound to; UDP has the same number.
func (m *Mesh) Addr() net.Addr { return m.listener.Addr() }

// Advertise is the host:port by which other nodes reach this one.
func (m *Mesh) Advertise() string { return string(m.self) }

// SetCredentials puts others in place of the node's credentials. Handshakes that
// begin from now on use them; connections that are open stay.
func (m *Mesh) SetCredentials(c *Credentials) error {
	p, err := c.parse()
	if err != nil {
		return err
	}
	if p.nodeID != m.conf.NodeID {
		return fmt.Errorf("the credentials are of node %q, this is %q", p.nodeID, m.conf.NodeID)
	}
	m.member.Store(p)
	return nil
}

// SetSecret puts another in place of the cluster secret, of at least 32 bytes.
// Joins that begin from now on use it.
func (m *Mesh) SetSecret(secret []byte) error {
	if err := checkSecret(secret); err != nil {
		return err
	}
	secret = slices.Clone(secret)
	m.secret.Store(&secret)
	return nil
}

// Handle puts h in place of what answers calls.
func (m *Mesh) Handle(h http.Handler) { m.calls.handler.Store(&h) }

// Drop closes every connection with a node; call it once Denied tells that the
// node was removed. None is open afterwards, and no new one begins.
func (m *Mesh) Drop(nodeID string) {
	m.mu.Lock()
	var drop []*conn
	for c := range m.conns {
		if c.peer == nodeID {
			drop = append(drop, c)
		}
	}
	m.mu.Unlock()
	for _, c := range drop {
		c.kill()
	}
}

// Close stops accepting, closes every connection and waits until all that runs
// here has ended, handlers included. It may be called again.
func (m *Mesh) Close() error {
	m.once.Do(m.shut)
	m.wg.Wait()
	return nil
}

// shut is Close without the wait. The connections are cut before handlers are
// told: one that gives up because the node stops must not look as if it had
// answered.
func (m *Mesh) shut() {
	m.mu.Lock()
	m.closed = true
	var open []*conn
	for c := range m.conns {
		open = append(open, c)
	}
	m.mu.Unlock()
	m.listener.Close()
	m.packets.Close()
	m.raft.Close()
	m.direct.Close()
	m.gossip.streams.Close()
	for _, c := range open {
		c.kill()
	}
	m.stop()
	m.calls.close()
}

// track takes charge of a connection: Close closes it. nil, and raw is closed,
// if the mesh is.
func (m *Mesh) track(raw net.Conn, stranger bool) *conn {
	c := &conn{Conn: raw, raw: raw, mesh: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		raw.Close()
		return nil
	}
	m.conns[c] = struct{}{}
	if stranger {
		m.strangers = append(m.strangers, c)
		if len(m.strangers) > maxStrangers {
			i := surplus(m.strangers)
			m.strangers[i].kill()
			m.strangers = slices.Delete(m.strangers, i, i+1)
		}
	}
	return c
}

// surplus picks the stranger to close: the oldest from the host that has the
// most, so that one host's flood closes its own.
func surplus(strangers []*conn) (index int) {
	count := map[string]int{}
	first := map[string]int{}
	for i, c := range strangers {
		host, _, _ := net.SplitHostPort(c.raw.RemoteAddr().String())
		if count[host]++; count[host] == 1 {
			first[host] = i
		}
	}
	most := 0
	for host, n := range count {
		if n > most || n == most && first[host] < index {
			most, index = n, first[host]
		}
	}
	return index
}

// known says who c turned out to be. An error if that node is denied by now.
func (m *Mesh) known(c *conn, peer string) error {
	m.mu.Lock()
	c.peer = peer
	m.strangers = slices.DeleteFunc(m.strangers, func(s *conn) bool { return s == c })
	m.mu.Unlock()
	// After the entry, which Drop looks for: one of the two finds the other.
	if peer != "" && m.conf.Denied(peer) {
		return fmt.Errorf("%w (node %s)", ErrDenied, peer)
	}
	return nil
}

func (m *Mesh) forget(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
	m.strangers = slices.DeleteFunc(m.strangers, func(s *conn) bool { return s == c })
}

// begin counts something that Close waits for, until m.wg.Done; false if the mesh
// is closed.
func (m *Mesh) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.wg.Add(1)
	}
	return !m.closed
}

// accept takes connections until the listener is closed. Want of descriptors
// passes; until then it must not spin.
func (m *Mesh) accept() {
	for {
		raw, err := m.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || m.ctx.Err() != nil {
				return
			}
			m.log.Warn("accept on the cluster port", "err", err)
			m.pause(100 * time.Millisecond)
			continue
		}
		c := m.track(raw, true)
		if c == nil || !m.begin() {
			raw.Close()
			return
		}
		go func() {
			defer m.wg.Done()
			m.greet(c)
		}()
	}
}

// pause waits, but not beyond the end of the mesh.
func (m *Mesh) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
	}
}
