package proxy

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// writer is the client's ResponseWriter. It puts perfgate's own headers into the
// head at the moment that it is sent, because interim responses (1xx) clear
// headers that were set before them.
type writer struct {
	http.ResponseWriter
	x      *exchange
	status atomic.Int32 // of the final response; 0 until its head is sent. 101 counts.
	sent   int64        // bytes of the body; the handler's goroutine alone writes
}

func (w *writer) WriteHeader(status int) {
	if status < 200 {
		h := w.Header() // ReverseProxy passes on the upstream's as it came
		dropHops(h)
		delete(h, "Upgrade")
		w.x.editHead(h)
	} else if w.status.CompareAndSwap(0, int32(status)) {
		w.x.stamp(w.Header())
		if b := w.x.body; b != nil && w.x.r.ProtoMajor == 1 && !b.whole() {
			// The rest of the body may never come: the client learns now that the connection
			// ends, and not when the server has waited for it.
			w.Header()["Connection"] = []string{"close"}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status.Load() == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach flush and deadlines.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack is called for a 101. The caller writes the head itself.
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
