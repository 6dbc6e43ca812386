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

// handOver gives the connection to the server of HTTP/2.
func (c *conn) handOver(nc net.Conn) {
	if c.onLoop() {
		c.task.Leave()
	}
	s := c.server
	s.mu.Lock()
	h := s.handover
	s.mu.Unlock()
	if h == nil {
		return
	}
	if c.tls != nil && !secureEnough(c.tls) {
		c.nc.SetDeadline(after(s.HeadTimeout))
		_, _ = nc.Write(inadequate) // the connection ends in any case
		return
	}
	if s.Guard != nil {
		nc = s.Guard(nc)
	}
	c.gone = true
	h.give(&passed{nc, c.tls})
}

// preface begins a connection of HTTP/2 (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// speaksHTTP2 reports whether the octets to come are the preface. It waits only for as
// long as they may be.
func (c *conn) speaksHTTP2() bool {
	for {
		p := c.br.buffered()
		p = p[:min(len(p), len(preface))]
		if string(p) != preface[:len(p)] {
			return false
		}
		if len(p) == len(preface) {
			return true
		}
		if _, err := c.br.Peek(len(p) + 1); err != nil {
			return false // who reads the head finds it again
		}
	}
}
