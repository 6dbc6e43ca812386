package proxy

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// writer is the client's ResponseWriter. It puts perfgate's own headers into the
// head at the moment that it is sent, because interim responses (1xx) clear
// whatever was set before them.
type writer struct {
	http.ResponseWriter
	x      *exchange
	status atomic.Int32 // of the final response; 0 until its head is sent. 101 counts.
}

func (w *writer) WriteHeader(status int) {
	if status >= 200 && w.status.CompareAndSwap(0, int32(status)) {
		w.x.stamp(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status.Load() == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach flush and deadlines.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack is called for a 101, whose head the caller writes itself.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.status.Store(http.StatusSwitchingProtocols)
	w.x.stamp(w.Header())
	t := &clientConn{Conn: c, early: rw.Reader}
	w.x.proxy.tunnels.Add(1)
	t.ended = sync.OnceFunc(func() { w.x.proxy.tunnels.Add(-1) })
	w.x.mu.Lock()
	if w.x.conn = t; w.x.killed {
		t.Close()
	}
	w.x.mu.Unlock()
	return t, rw, nil
}

// stamp sets what every response of the proxy carries.
func (x *exchange) stamp(h http.Header) {
	h[fault.RequestIDHeader] = []string{x.id}
	if x.pass.Valid {
		admit.SetLimitHeaders(h, &x.pass.Limits, x.decided)
	}
}

// clientConn is the client's side of a tunnel. What the client sent right behind
// its request has been read by the server already and comes first.
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
