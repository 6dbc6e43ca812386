package mesh

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// dialed is the connection for calls to one address, open or being opened.
type dialed struct {
	ready chan struct{} // closed when the fields below are set
	conn  *conn
	http  *http.ClientConn
	err   error
}

type dialKey struct{}

// errEnded: the connection was opened and has already ended.
var errEnded = errors.New("the connection has ended")

// get returns a connection to the node at addr that can take a call. Calls that
// arrive while it is being opened share the attempt and its outcome; fresh means
// that it was opened for this call. The attempt goes on when ctx ends, because other
// calls may wait for it.
func (s *calls) get(ctx context.Context, addr, nodeID string) (d *dialed, fresh bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		d, mine := s.entry(addr)
		select {
		case <-d.ready:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if d.err != nil {
			return nil, mine, d.err
		}
		switch {
		case d.http.Err() != nil:
			err = errEnded
		case nodeID != "" && d.conn.peer != nodeID:
			err = fmt.Errorf("connect to %s: %w: node %s, not %s", addr, ErrOtherNode, d.conn.peer, nodeID)
		case s.mesh.conf.Denied(d.conn.peer):
			err = fmt.Errorf("connect to %s: %w (node %s)", addr, ErrDenied, d.conn.peer)
		default:
			return d, mine, nil
		}
		if mine {
			return nil, mine, err
		}
		s.drop(addr, d) // it is old: another node may be there now
	}
}

// entry returns the connection to addr, and whether this caller opens it.
func (s *calls) entry(addr string) (d *dialed, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.peers[addr]; d != nil {
		return d, false
	}
	d = &dialed{ready: make(chan struct{})}
	s.peers[addr] = d
	if !s.mesh.begin() {
		d.err = ErrClosed
		delete(s.peers, addr)
		close(d.ready)
		return d, true
	}
	go func() {
		defer s.mesh.wg.Done()
		defer close(d.ready)
		if d.conn, d.http, d.err = s.dial(addr); d.err != nil {
			s.drop(addr, d) // so that the next call tries again
		}
	}()
	return d, true
}

func (s *calls) dial(addr string) (*conn, *http.ClientConn, error) {
	ctx, cancel := context.WithTimeout(s.mesh.ctx, dialTimeout+handshakeTimeout)
	defer cancel()
	c, err := s.mesh.dial(ctx, addr, protoCall, "")
	if err != nil {
		return nil, nil, err
	}
	h, err := s.client.NewClientConn(context.WithValue(ctx, dialKey{}, c), "http", addr)
	if err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, h, nil
}

// drop forgets d, if it is still the connection to addr. Calls in progress continue;
// d is closed after the last one.
func (s *calls) drop(addr string, d *dialed) {
	s.mu.Lock()
	if s.peers[addr] == d {
		delete(s.peers, addr)
	}
	s.mu.Unlock()
	if d.http == nil {
		return
	}
	idle := func(c *http.ClientConn) {
		if c.InFlight() == 0 {
			c.Close()
		}
	}
	d.http.SetStateHook(idle)
	idle(d.http)
}
