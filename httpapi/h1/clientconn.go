package h1

import (
	"net"
	"time"
)

// persistConn is a connection to an upstream. One request owns it at a time; between requests
// the pool does.
type persistConn struct {
	net.Conn  // what the messages travel on: the socket, or TLS over it
	socket    *socket
	key       Target
	br        *input    // nil while the connection is idle
	idle      time.Time // since then, if the pool has it
	due       time.Time // the deadline for reading that waitFor has set
	reused    bool
	unchecked bool // the pool has not looked whether it is quiet
}

// Target is what connections have in common that can stand for each other. TLS has one
// configuration in a Transport, and verifies the host of the address.
type Target struct {
	Scheme string // http or https
	Addr   string // with a port
}

// begin gives the connection a buffer for the answer to a request.
func (c *persistConn) begin() {
	c.br = inputs.Get().(*input)
	c.br.reset(c.Conn)
	c.socket.judged = false
}

// end takes the buffer back. Only the goroutine that reads may call it.
func (c *persistConn) end() {
	c.br.release()
	c.br = nil
}

// mayTurn reports whether take is there for the connection.
func (c *persistConn) mayTurn() bool { return c.socket.fast != nil && c.Conn == net.Conn(c.socket) }

// quiet reports whether nothing has come since the last answer.
func (c *persistConn) quiet() bool {
	c.waitFor(0)
	return c.socket.quiet(c.Conn)
}

// waitFor bounds the wait for an answer, from now on; 0 is no bound. A bound that is set
// already and not much longer stays.
func (c *persistConn) waitFor(d time.Duration) {
	switch now := time.Now(); {
	case d == 0 && !c.due.IsZero():
		c.due = time.Time{}
	case d > 0 && (c.due.Before(now.Add(d)) || c.due.After(now.Add(d+d/4))):
		c.due = now.Add(d + d/8)
	default:
		return
	}
	c.SetReadDeadline(c.due)
}

// abort ends the connection at once. TLS would send its farewell first, for which a peer
// that does not read would be waited for.
func (c *persistConn) abort() { c.socket.Close() }

// CloseWrite ends one direction.
func (c *persistConn) CloseWrite() error { return endWrites(c.Conn) }
