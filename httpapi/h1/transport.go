package h1

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// The client of a request is watched after so long. Most requests end before, on a busy
	// machine too: the goroutine and its deadlines cost as much as a request does.
	watchAfter = 100 * time.Millisecond

	// writePiece is the part of an answer that WriteTimeout is for.
	writePiece = 64 << 10
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// reader reads from the connection. While a handler works on a request that has been
// read to its end, it watches whether the client leaves: a goroutine waits for an octet,
// which belongs to the next request.
type reader struct {
	c     *conn
	timer *time.Timer // of watch; nil before the first one

	mu      sync.Mutex // guards the fields below
	ended   sync.Cond  // over mu: reading has become false
	armed   bool       // the timer may start the goroutine
	since   time.Time  // when it was armed
	set     bool       // the timer: it is not stopped, which costs more than to let it end
	reading bool       // the goroutine reads
	aborted bool       // unwatch waits for the goroutine
	has     bool       // octet has been read
	due     time.Time  // the deadline of reads; zero: none, or not known
	octet   [1]byte
}

// Read implements [io.Reader] for the connection's buffer. Nobody reads while the client
// is watched.
func (r *reader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	if r.has && len(p) > 0 {
		p[0], r.has = r.octet[0], false
		r.mu.Unlock()
		return 1, nil
	}
	r.mu.Unlock()
	if raw := r.c.raw; raw != nil {
		return raw.Read(p)
	}
	return r.c.nc.Read(p)
}

// await waits for an octet and keeps it for Read.
func (r *reader) await() error {
	if r.holds() {
		return nil
	}
	var octet [1]byte
	if _, err := r.c.nc.Read(octet[:]); err != nil {
		return err
	}
	r.mu.Lock()
	r.octet, r.has = octet, true
	r.mu.Unlock()
	return nil
}

// dropTimer gives the timer back. Nobody is watched.
func (r *reader) dropTimer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer, r.set = nil, false
	}
}

// holds reports whether an octet has been read that the buffer does not have.
func (r *reader) holds() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.has
}

// setDeadline sets the deadline of reads. It does not disturb unwatch.
func (r *reader) setDeadline(t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.aborted {
		r.c.nc.SetReadDeadline(t)
		r.due = t
	}
}

// setIdle sets a deadline d from now, unless there is one already that is little
// earlier.
func (r *reader) setIdle(now time.Time, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if due := now.Add(d); d == 0 || r.due.After(due) || r.due.Before(due.Add(-d/8)) {
		if r.due = due; d == 0 {
			r.due = time.Time{}
		}
		r.c.nc.SetReadDeadline(r.due)
	}
}

// watch cancels the request in flight when the client leaves.
func (r *reader) watch() {
	if r.c.onLoop() {
		return // its task leaves the loop before
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.since = true, time.Now()
	switch {
	case r.timer == nil:
		r.ended.L = &r.mu
		r.timer = time.AfterFunc(watchAfter, r.start)
	case !r.set:
		r.timer.Reset(watchAfter)
	}
	r.set = true // or it was: start looks again
}

// start is called by the timer.
func (r *reader) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set = false; !r.armed || r.reading || r.has {
		return
	}
	if left := watchAfter - time.Since(r.since); left > 0 {
		r.set = true
		r.timer.Reset(left)
		return
	}
	r.reading, r.due = true, time.Time{}
	r.c.nc.SetReadDeadline(time.Time{})
	go r.wait()
}

// wait waits for an octet or for the end.
func (r *reader) wait() {
	n, err := r.c.nc.Read(r.octet[:])
	// A deadline is that of unwatch, or one that the handler has set: the client is there.
	if err != nil && !isTimeout(err) {
		r.c.cancel() // before unwatch returns, after which the exchange is another one's
	}
	r.mu.Lock()
	r.has = n == 1
	r.reading = false
	r.mu.Unlock()
	r.ended.Broadcast()
}

// unwatch ends what watch began. A deadline must be set before the next read.
func (r *reader) unwatch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.armed {
		return
	}
	if r.armed = false; !r.reading {
		return
	}
	r.aborted = true
	r.c.nc.SetReadDeadline(past)
	for r.reading {
		r.ended.Wait()
	}
	r.aborted = false
}

// writer writes to the connection. A client that takes nothing for WriteTimeout is cut
// off.
type writer struct {
	c    *conn
	more []byte // of send: it goes out after what Write gets
	sent int    // octets of more

	mu    sync.Mutex // guards the fields below
	own   bool       // the handler has set a deadline
	since time.Time  // when the server last set one
}

// send writes p behind what bw has, which is over w. If p does not fit there, both go out in
// one system call.
func (w *writer) send(bw *bufio.Writer, p []byte) (int, error) {
	if w.c.raw == nil || bw.Buffered() == 0 || len(p) <= bw.Available() || len(p) > writePiece {
		return bw.Write(p)
	}
	w.more, w.sent = p, 0
	err := bw.Flush()
	w.more = nil
	return w.sent, err
}

// Write implements [io.Writer] for the connection's buffer, which keeps errors.
func (w *writer) Write(p []byte) (n int, err error) {
	if w.more != nil {
		w.renew()
		n, w.sent, err = w.c.raw.WriteBoth(p, w.more)
	}
	for n < len(p) && err == nil {
		var m int
		w.renew()
		m, err = w.c.write(p[n:min(len(p), n+writePiece)])
		n += m
	}
	if err != nil {
		w.c.cancel()
	}
	return n, err
}

func (c *conn) write(p []byte) (int, error) {
	if c.raw != nil {
		return c.raw.Write(p)
	}
	return c.nc.Write(p)
}

// renew sets the server's deadline, unless it has done so a short while ago.
func (w *writer) renew() {
	timeout := w.c.server.WriteTimeout
	w.mu.Lock()
	defer w.mu.Unlock()
	if timeout == 0 || w.own {
		return
	}
	if now := time.Now(); now.Sub(w.since) > timeout/8 {
		w.c.nc.SetWriteDeadline(now.Add(timeout))
		w.since = now
	}
}

// setDeadline sets the handler's deadline, for the rest of the answer.
func (w *writer) setDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own = true
	return w.c.nc.SetWriteDeadline(t)
}

// reset ends the handler's deadline.
func (w *writer) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.own {
		w.own, w.since = false, time.Time{}
		w.c.nc.SetWriteDeadline(time.Time{})
	}
}

// linger ends the answers and reads what the client still sends, for LingerTime: a
// connection that is closed with octets unread is reset, and the client may never see the
// answer.
func (c *conn) linger() {
	if !closeWrite(c.nc) {
		return
	}
	c.in.setDeadline(after(c.server.LingerTime))
	for {
		c.br.discard(c.br.Buffered())
		if _, err := c.br.Peek(1); err != nil {
			return
		}
	}
}

// breakOff makes an answer that has begun not look whole: TLS has no end, and where the
// end of the connection would be that of the answer, it is reset, because some clients
// do without the end of TLS. Elsewhere a reset would only take what the client has not
// received yet.
func (c *conn) breakOff(framing uint8) {
	for nc := c.nc; nc != nil; nc = below(nc) {
		_, secured := nc.(*tls.Conn)
		if l, ok := nc.(interface{ SetLinger(int) error }); ok && framing == untilClose {
			_ = l.SetLinger(0) // fails on a closed connection only
		}
		if !secured {
			nc.Close()
			return
		}
	}
}

// closeWrite ends the direction to the client, that of TLS and that of TCP, and reports
// whether it could.
func closeWrite(nc net.Conn) bool {
	for ; nc != nil; nc = below(nc) {
		w, ok := nc.(interface{ CloseWrite() error })
		if !ok {
			continue
		}
		err := w.CloseWrite()
		if _, secured := nc.(*tls.Conn); !secured || err != nil {
			return err == nil
		}
	}
	return false
}

// below is the connection that nc is made of; nil if it is made of none.
func below(nc net.Conn) net.Conn {
	if nc, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return nc.NetConn()
	}
	return nil
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
