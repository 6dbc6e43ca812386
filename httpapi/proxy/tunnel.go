package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// tunnel passes on a 101, and then octets both ways until both have ended.
func (r reply) tunnel() *fault.Error {
	x, res := r.x, r.res
	if got, asked := res.Fields.Get("Upgrade"), upgradeOf(x.r); got == "" || !httpguts.HeaderValuesContainsToken([]string{asked}, got) {
		return fault.Wrap(fault.UpstreamUnreachable, fmt.Errorf("the upstream switched to the protocol %q, not to %q", got, asked))
	}
	r.edit()
	nc, early, err := x.down.Hijack()
	if err != nil {
		return fault.Wrap(fault.UpstreamUnreachable, fmt.Errorf("switch protocols: %w", err))
	}
	x.status.Store(http.StatusSwitchingProtocols)
	client := r.open(nc, early)
	defer client.Close()
	head := append([]byte("HTTP/1.1 101 Switching Protocols\r\n"), x.ownLines(&res.Fields)...)
	for name, v := range res.Fields.All() {
		head = append(append(append(append(head, name...), ": "...), v...), "\r\n"...)
	}
	if _, err := nc.Write(append(head, "\r\n"...)); err != nil {
		return nil
	}
	upstream := res.Body.(io.ReadWriteCloser)
	var both sync.WaitGroup
	both.Go(func() { r.pump(upstream, client, nil) })
	r.pump(client, upstream, &x.bytes)
	both.Wait()
	return nil
}

// open notes the client's connection, which kill closes from now on.
func (r reply) open(nc net.Conn, early *bufio.Reader) *clientConn {
	x, client := r.x, &clientConn{Conn: nc, early: early}
	x.proxy.tunnels.Add(1)
	client.ended = sync.OnceFunc(func() { x.proxy.tunnels.Add(-1) })
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn = client; x.killed {
		client.Close()
	}
	return client
}

// pump copies one direction of a tunnel, and passes on its end. Where that is not
// possible, or after an error, both directions end.
func (r reply) pump(to, from io.ReadWriteCloser, sent *int64) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		r.x.touch()
		if n > 0 {
			m, failed := to.Write(buf[:n])
			r.x.touch()
			if sent != nil {
				*sent += int64(m)
			}
			if failed != nil {
				err = failed
			}
		}
		if err == nil {
			continue
		}
		if err != io.EOF || closeWrite(to) != nil {
			to.Close()
			from.Close()
		}
		return
	}
}

// clientConn is the client's side of a tunnel. Bytes that the client sent right
// after its request have been read by the server already and come first.
type clientConn struct {
	net.Conn
	early *bufio.Reader // nil once it is empty
	ended func()
}

func (c *clientConn) Read(p []byte) (int, error) {
	if c.early != nil {
		if n := c.early.Buffered(); n > 0 {
			return c.early.Read(p[:min(n, len(p))])
		}
		c.early = nil
	}
	return c.Conn.Read(p)
}

// CloseWrite passes on that the upstream has said all it had to say.
func (c *clientConn) CloseWrite() error { return closeWrite(c.Conn) }

func (c *clientConn) Close() error {
	c.ended()
	return c.Conn.Close()
}

func closeWrite(c any) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}
