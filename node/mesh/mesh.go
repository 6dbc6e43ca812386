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

// Mesh is an open cluster port. Its methods may be called at any time and
// concurrently, and fail with [ErrClosed] after Close.
type Mesh struct {
	conf     Config
	log      *slog.Logger
	listener net.Listener
	packets  net.PacketConn
	self     address // advertised

	member   atomic.Pointer[member] // nil until the node has joined
	secret   atomic.Pointer[[]byte]
	joinCert tls.Certificate // of the join protocol

	warned atomic.Int64 // Unix nanoseconds of the last warning about a join

	raft   *streams
	direct *streams
	gossip *gossip
	calls  calls
	joins  chan struct{} // holds one element per join request in progress

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // all goroutines and handlers

	once sync.Once // of shut
	open connections
}

// Open binds the port and accepts connections until Close or until ctx is done.
func Open(ctx context.Context, c Config) (*Mesh, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m := &Mesh{conf: c, log: c.Logger, joins: make(chan struct{}, maxJoins)}
	m.open.all = map[*conn]struct{}{}
	secret := slices.Clone(c.Secret)
	m.secret.Store(&secret)
	if c.Credentials != nil {
		if err := m.SetCredentials(c.Credentials); err != nil {
			return nil, err
		}
	}
	var err error
	if m.joinCert, err = newJoinCert(time.Now()); err != nil {
		return nil, fmt.Errorf("create a certificate for joins: %w", err)
	}
	if m.listener, m.packets, err = bind(c.Net, c.Listen); err != nil {
		return nil, fmt.Errorf("listen on %q for the cluster: %w", c.Listen, err)
	}
	if m.self, err = advertise(c.Advertise, c.Listen, m.listener.Addr()); err != nil {
		return nil, errors.Join(err, m.listener.Close(), m.packets.Close())
	}
	// Not a child of ctx: shut closes the connections first.
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

// bindTries bounds the attempts to find a port that is free for both TCP and UDP.
const bindTries = 16

// bind listens on the same port number of TCP and UDP.
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

// Addr returns the address that TCP is bound to; UDP has the same port number.
func (m *Mesh) Addr() net.Addr { return m.listener.Addr() }

// Advertise returns the host:port at which other nodes reach this one.
func (m *Mesh) Advertise() string { return string(m.self) }

// SetCredentials replaces the node's credentials. Handshakes that begin from now on
// use them; open connections stay open.
func (m *Mesh) SetCredentials(c *Credentials) error {
	p, err := c.parse()
	if err != nil {
		return err
	}
	if p.nodeID != m.conf.NodeID {
		return fmt.Errorf("the credentials belong to node %q, this is %q", p.nodeID, m.conf.NodeID)
	}
	m.member.Store(p)
	return nil
}

// SetSecret replaces the cluster secret; it needs at least 32 bytes. Joins that begin
// from now on use it.
func (m *Mesh) SetSecret(secret []byte) error {
	if err := checkSecret(secret); err != nil {
		return err
	}
	secret = slices.Clone(secret)
	m.secret.Store(&secret)
	return nil
}

// Handle replaces the handler of calls.
func (m *Mesh) Handle(h http.Handler) { m.calls.handler.Store(&h) }

// Close stops accepting, closes every connection and waits until all goroutines and
// handlers have ended. It may be called again.
func (m *Mesh) Close() error {
	m.once.Do(m.shut)
	m.wg.Wait()
	return nil
}

// shut is Close without the wait. Connections are cut before the context of handlers
// ends: a handler that gives up because the node stops must not look as if it had
// answered.
func (m *Mesh) shut() {
	open := m.open.close()
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

// begin registers work that Close waits for, until m.wg.Done. It returns false if the
// mesh is closed.
func (m *Mesh) begin() bool {
	m.open.mu.Lock()
	defer m.open.mu.Unlock()
	if !m.open.closed {
		m.wg.Add(1)
	}
	return !m.open.closed
}

// accept accepts connections until the listener is closed. A lack of descriptors is
// temporary; the loop must not spin during it.
func (m *Mesh) accept() {
	for {
		raw, err := m.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || m.ctx.Err() != nil {
				return
			}
			m.log.Warn("accept on the cluster port", "error", err)
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
			m.serveConn(c)
		}()
	}
}

// pause waits for d or until the mesh is closed.
func (m *Mesh) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
	}
}
