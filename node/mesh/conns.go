package mesh

import (
	"fmt"
	"net"
	"slices"
	"sync"
)

// connections are all open connections of a mesh, accepted and dialled.
type connections struct {
	mu        sync.Mutex // guards the fields below; never held across anything that waits
	closed    bool       // the mesh is closed: no new connection, no new work
	all       map[*conn]struct{}
	strangers []*conn // accepted and not authenticated yet, oldest first
}

// close prevents new connections and returns the open ones.
func (o *connections) close() []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	var open []*conn
	for c := range o.all {
		open = append(open, c)
	}
	return open
}

// of returns the open connections with a node.
func (o *connections) of(nodeID string) []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	var cs []*conn
	for c := range o.all {
		if c.peer == nodeID {
			cs = append(cs, c)
		}
	}
	return cs
}

// conn is one TCP connection.
type conn struct {
	net.Conn // the TLS connection, once there is one
	raw      net.Conn
	mesh     *Mesh
	// peer is the node id of the other side; "" before the handshake and for join.
	// connections.mu guards it until the handshake has ended; then it is constant.
	peer string
}

// Close ends the TLS connection and closes it.
func (c *conn) Close() error {
	c.mesh.untrack(c)
	return c.Conn.Close()
}

// kill closes the connection at once; its users see an error.
func (c *conn) kill() {
	c.raw.Close()
}

// Drop closes every connection with a node. Call it once Denied reports that the node
// was removed: none is open afterwards, and no new one succeeds.
func (m *Mesh) Drop(nodeID string) {
	for _, c := range m.open.of(nodeID) {
		c.kill()
		m.untrack(c) // one that still waits for Accept has no user who closes it
	}
}

// track registers a connection, so that Close closes it. It returns nil, and closes
// raw, if the mesh is closed.
func (m *Mesh) track(raw net.Conn, stranger bool) *conn {
	c := &conn{Conn: raw, raw: raw, mesh: m}
	o := &m.open
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		raw.Close()
		return nil
	}
	o.all[c] = struct{}{}
	if stranger {
		o.strangers = append(o.strangers, c)
		if len(o.strangers) > maxStrangers {
			i := surplus(o.strangers)
			o.strangers[i].kill()
			o.strangers = slices.Delete(o.strangers, i, i+1)
		}
	}
	return c
}

// surplus returns the stranger to close: the oldest one of the host with the most, so
// that the flood of one host closes its own connections.
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

// identify records the node that c was authenticated as; "" for a join. The error is
// ErrDenied if that node was removed in the meantime.
func (m *Mesh) identify(c *conn, peer string) error {
	o := &m.open
	o.mu.Lock()
	c.peer = peer
	o.strangers = slices.DeleteFunc(o.strangers, func(s *conn) bool { return s == c })
	o.mu.Unlock()
	// Denied is checked after peer was set, and Drop looks for peer after Denied has
	// changed: one of the two finds the other.
	if peer != "" && m.conf.Denied(peer) {
		return fmt.Errorf("%w (node %s)", ErrDenied, peer)
	}
	return nil
}

// untrack forgets a connection.
func (m *Mesh) untrack(c *conn) {
	o := &m.open
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, c)
	o.strangers = slices.DeleteFunc(o.strangers, func(s *conn) bool { return s == c })
}
