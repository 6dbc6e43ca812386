package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of everything that waits for a peer.
const (
	dialTimeout      = 2 * time.Second        // a TCP connection
	handshakeTimeout = 3 * time.Second        // a client's TLS handshake and the server's first byte
	acceptTimeout    = 5 * time.Second        // a server's TLS handshake and the proof of the secret
	joinTimeout      = 30 * time.Second       // the answer to a join request
	refuseDelay      = 100 * time.Millisecond // before the answer to a wrong proof

	// Connections that are not authenticated yet. One more closes an old one: an
	// honest peer is done in milliseconds, and no other peer can block it. See surplus.
	maxStrangers = 64
	maxJoins     = 64 // join requests being answered

	pingEvery   = time.Second // of silence on a connection for calls
	pingTimeout = time.Second // until such a connection is closed
	maxStreams  = 1024        // concurrent calls on one connection; further ones wait

	minSecret = 32 // bytes
)

// MaxBody bounds the body of a call and of its answer, in bytes.
const MaxBody = 32 << 20

// JoinHandler answers a join request. The peer has proved that it knows the cluster
// secret and nothing else: body is any JSON that it sent, remote its address. The
// answer is encoded as JSON; the text of an error is shown to the peer. It must
// return when ctx is done.
type JoinHandler func(ctx context.Context, kind string, body []byte, remote string) (any, error)

// Net is the network of a mesh; tests use a faulty one.
type Net interface {
	Listen(network, addr string) (net.Listener, error)
	ListenPacket(network, addr string) (net.PacketConn, error)
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Config configures a mesh.
type Config struct {
	Listen    string // host:port of TCP and UDP; port 0 picks one
	Advertise string // host:port for other nodes, port 0 for the bound one; "" finds an address
	NodeID    string
	Secret    []byte // at least 32 bytes
	// Credentials are nil until the node has joined; only the join protocol works
	// without them.
	Credentials *Credentials
	// Denied reports whether a node was removed from the cluster. It is called in
	// every handshake and must be fast. nil: no node was.
	Denied func(nodeID string) bool
	Join   JoinHandler  // nil: join requests are refused
	Calls  http.Handler // nil: calls are answered 503 until [Mesh.Handle]
	Net    Net          // nil: the operating system's
	Logger *slog.Logger
}

func (c *Config) check() error {
	if !validID(c.NodeID) {
		return errors.New("BUG: invalid node id " + c.NodeID)
	}
	if c.Denied == nil {
		c.Denied = func(string) bool { return false }
	}
	if c.Net == nil {
		c.Net = osNet{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return checkSecret(c.Secret)
}

// keepAlive detects a vanished peer within 9 s on connections without pings.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: 2 * time.Second, Count: 3}

type osNet struct{}

func (osNet) Listen(network, addr string) (net.Listener, error) {
	l := net.ListenConfig{KeepAliveConfig: keepAlive}
	return l.Listen(context.Background(), network, addr)
}

func (osNet) ListenPacket(network, addr string) (net.PacketConn, error) {
	return net.ListenPacket(network, addr)
}

func (osNet) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, network, addr)
}
