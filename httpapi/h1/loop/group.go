package loop

import (
	"net"
	"sync/atomic"
)

// Group is loops that share connections.
type Group struct {
	// Early says that connections land before their first request, not after it. It must be set
	// before they do.
	Early bool

	loops []*Loop
	turn  atomic.Uint32
}

// Start starts n loops.
func Start(n int) (*Group, error) {
	g := &Group{}
	for range n {
		l, err := New()
		if err != nil {
			g.Close()
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// Counts are the clients' connections that have landed, and those that left with a task.
func (g *Group) Counts() (landed, left int64) {
	for _, l := range g.loops {
		landed += l.landed.Load()
		left += l.left.Load()
	}
	return landed, left
}

// Pick is the loop whose turn it is.
func (g *Group) Pick() *Loop { return g.loops[int(g.turn.Add(1))%len(g.loops)] }

// Close ends the loops.
func (g *Group) Close() {
	for _, l := range g.loops {
		l.Close()
	}
}

// Listener is a listener whose connections of TCP are made by [NewConn].
type Listener struct{ net.Listener }

// Accept implements [net.Listener].
func (l Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if tcp, ok := nc.(*net.TCPConn); ok && err == nil {
		return NewConn(tcp)
	}
	return nc, err
}
