package nodetest

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how much may be on its way in one direction, in bytes.
const window = 1 << 20

// flow is one direction of a connection.
type flow struct {
	way
	net *Net

	mu      sync.Mutex
	chunks  []chunk
	size    int
	fin     bool          // the writer has closed
	rst     bool          // the reader has closed, or a host is down
	changed chan struct{} // closed at every change
}

type chunk struct {
	data []byte
	at   time.Time // when it arrives, if the way is open
}

func newFlow(n *Net, w way) *flow { return &flow{way: w, net: n, changed: make(chan struct{})} }

// wakeLocked wakes the goroutines that wait for a change.
func (f *flow) wakeLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *flow) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rst = true
	f.wakeLocked()
}

func (f *flow) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fin = true
	f.wakeLocked()
}

// read takes data that has arrived. n is -1 while there is none; next is then the
// time at which the first chunk arrives, if one is on its way.
func (f *flow) read(b []byte, open bool) (n int, next time.Time, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !open:
	case f.rst:
		return 0, next, nil, syscall.ECONNRESET
	case len(f.chunks) > 0:
		if next = f.chunks[0].at; time.Until(next) > 0 {
			break
		}
		n = copy(b, f.chunks[0].data)
		if f.chunks[0].data = f.chunks[0].data[n:]; len(f.chunks[0].data) == 0 {
			f.chunks = f.chunks[1:]
		}
		f.size -= n
		f.wakeLocked()
		return n, next, nil, nil
	case f.fin:
		return 0, next, nil, io.EOF
	}
	return -1, next, f.changed, nil
}

// write sends b; ok is false while the window is full.
func (f *flow) write(b []byte, delay time.Duration, told bool) (ok bool, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.rst && told:
		return false, nil, syscall.EPIPE
	case f.rst:
		return true, nil, nil // it is lost, and the writer does not know yet
	case f.size > window:
		return false, f.changed, nil
	}
	f.chunks = append(f.chunks, chunk{append([]byte(nil), b...), time.Now().Add(delay)})
	f.size += len(b)
	f.wakeLocked()
	return true, nil, nil
}

// conn is one end of a connection.
type conn struct {
	net           *Net
	in, out       *flow
	local, remote netip.AddrPort
	readBy        *deadline
	writeBy       *deadline
	done          chan struct{}
	once          sync.Once
}

func newConn(n *Net, in, out *flow, local, remote netip.AddrPort) *conn {
	return &conn{net: n, in: in, out: out, local: local, remote: remote, readBy: newDeadline(), writeBy: newDeadline(), done: make(chan struct{})}
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: c.RemoteAddr(), Err: err}
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		by := c.readBy.expired()
		select {
		case <-c.done:
			return 0, c.fault("read", net.ErrClosed)
		case <-by:
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		default:
		}
		open, _, faults := c.net.open(c.in.way)
		n, next, changed, err := c.in.read(b, open)
		if err == io.EOF {
			return 0, err
		}
		if err != nil {
			return 0, c.fault("read", err)
		}
		if n >= 0 {
			return n, nil
		}
		var arrives <-chan time.Time
		if !next.IsZero() {
			t := time.NewTimer(time.Until(next))
			defer t.Stop()
			arrives = t.C
		}
		select {
		case <-changed:
		case <-faults:
		case <-arrives:
		case <-by:
		case <-c.done:
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	for {
		by := c.writeBy.expired()
		select {
		case <-c.done:
			return 0, c.fault("write", net.ErrClosed)
		case <-by:
			return 0, c.fault("write", os.ErrDeadlineExceeded)
		default:
		}
		_, delay, _ := c.net.open(c.out.way)
		told, _, _ := c.net.open(c.in.way)
		ok, changed, err := c.out.write(b, delay, told)
		if err != nil {
			return 0, c.fault("write", err)
		}
		if ok {
			return len(b), nil
		}
		select {
		case <-changed:
		case <-by:
		case <-c.done:
		}
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.out.finish()
		c.in.reset()
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
	})
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { c.readBy.set(t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.writeBy.set(t); return nil }

// deadline is a time that can be moved while somebody waits for it.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when it has passed
}

func newDeadline() *deadline { return &deadline{over: make(chan struct{})} }

func (d *deadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // its function is running or has run
	}
	d.timer = nil
	select {
	case <-d.over:
		d.over = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	if left := time.Until(t); left > 0 {
		over := d.over
		d.timer = time.AfterFunc(left, func() { close(over) })
		return
	}
	close(d.over)
}
