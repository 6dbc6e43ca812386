package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of everything that waits for the other side.
const (
	dialTimeout      = 2 * time.Second        // a TCP connection
	handshakeTimeout = 3 * time.Second        // its TLS handshake and the peer's welcome, as a client
	greetTimeout     = 5 * time.Second        // the handshake and the proof of the secret, as a server
	joinTimeout      = 30 * time.Second       // the answer to a join request
	refuseDelay      = 100 * time.Millisecond // before a wrong proof is hung up on

	// Connections that have proved nothing yet. One more closes an old one: who is
	// honest is through in milliseconds, who is not holds up nobody. See surplus.
	maxStrangers = 64
	maxJoins     = 64 // join requests that are answered at a time

	pingEvery   = time.Second // of silence on a connection for calls
	pingTimeout = time.Second // until such a connection is given up
	maxStreams  = 1024        // calls at a time on one connection; further ones wait

	minSecret = 32 // bytes
)

// MaxBody bounds a call's body and its answer's, in bytes.
const MaxBody = 32 << 20

// JoinHandler answers a join request. The peer has proved the cluster secret and
// nothing else: body is whatever JSON it sent, remote is its address. The answer
// is encoded as JSON; an error's text is shown to the peer. It must end when ctx
// does.
type JoinHandler func(ctx context.Context, kind string, body []byte, remote string) (any, error)

// Net is how a mesh reaches the network; tests put a faulty one here.
type Net interface {
	Listen(network, addr string) (net.Listener, error)
	ListenPacket(network, addr string) (net.PacketConn, error)
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Config is what [Open] needs.
type Config struct {
	Listen    string // host:port of TCP and UDP; port 0 picks one
	Advertise string // how others reach it, host:port, port 0 for the bound one; "" to find out
	NodeID    string
	Secret    []byte // at least 32 bytes
	// Credentials are nil until the node joined: then only the join protocol works.
	Credentials *Credentials
	// Denied tells whether a node was removed from the cluster. It is called in
	// every handshake and must be fast. nil: none is.
	Denied func(nodeID string) bool
	Join   JoinHandler  // nil: join requests are refused
	Calls  http.Handler // nil: calls are answered 503 until [Mesh.Handle]
	Net    Net          // nil: the operating system's
	Logger *slog.Logger
}

func (c *Config) check() error {
	if !validID(c.NodeID) {
		return errors.New("BUG: node id " + c.NodeID)
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

// keepAlive finds a peer that vanished within 9 s where nothing else does.
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
