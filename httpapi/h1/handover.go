package h1

import (
	"errors"
	"net"
	"net/http"
	"sync"
)

// handover is the listener of a server of HTTP/2, whose connections another server has
// accepted.
type handover struct {
	addr  net.Addr
	conns chan net.Conn // not buffered: a connection that is given is taken
	done  chan struct{} // closed by Close
	close func()
}

func newHandover(addr net.Addr) *handover {
	h := &handover{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	h.close = sync.OnceFunc(func() { close(h.done) })
	return h
}

// give passes nc on; it is closed if the server has stopped.
func (h *handover) give(nc net.Conn) {
	select {
	case h.conns <- nc:
	case <-h.done:
		nc.Close()
	}
}

// Accept implements [net.Listener].
func (h *handover) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.done:
		return nil, http.ErrServerClosed
	}
}

// Close implements [net.Listener].
func (h *handover) Close() error   { h.close(); return nil }
func (h *handover) Addr() net.Addr { return h.addr }

// earlyConn is a connection of which some octets have been read already.
type earlyConn struct {
	net.Conn
	early []byte
}

// Read implements [io.Reader].
func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}

// NetConn returns the connection as it was accepted.
func (c *earlyConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends one direction, where the connection can.
func (c *earlyConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}
