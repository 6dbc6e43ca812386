package loop

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection of TCP that the runtime's poller or a [Loop] waits for. It is used as
// any connection, also by its RawConn, and moves between the two while nobody uses it, or
// while the [Task] that uses it is on the loop.
type Conn struct {
	local, remote net.Addr
	closed        atomic.Bool // by Close

	// mu guards the fields below. The task that has the connection, and the loop while none
	// has, may read them without it.
	mu   sync.Mutex
	tcp  *net.TCPConn    // nil while a loop has the connection
	poll syscall.RawConn // of tcp
	loop *Loop           // nil while the runtime's poller has it
	fd   int             // of the loop
	task *Task           // that uses the connection on the loop; nil: it waits

	readDue, writeDue time.Time // deadlines, which bind while the runtime's poller has it

	// The fields below are the loop's.
	place int32 // in the loop's table
	turn  int32 // of the place
	more  bool  // there may be octets that were not read, or an end
	hup   bool  // there is an end
	ready func(*Task) bool
	idle  time.Duration // 0 is no bound
	since time.Time     // of the wait for octets
}

// NewConn makes tcp a connection that loops can have.
func NewConn(tcp *net.TCPConn) (*Conn, error) {
	poll, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{local: tcp.LocalAddr(), remote: tcp.RemoteAddr(), tcp: tcp, poll: poll, fd: -1}, nil
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	tcp, err := c.own()
	if err != nil {
		return 0, err
	}
	return tcp.Read(p)
}

// Write implements [net.Conn].
func (c *Conn) Write(p []byte) (int, error) {
	tcp, err := c.own()
	if err != nil {
		return 0, err
	}
	return tcp.Write(p)
}

// own is the connection of the runtime's poller, to which it moves if a task has it.
func (c *Conn) own() (*net.TCPConn, error) {
	c.mu.Lock()
	tcp, task := c.tcp, c.task
	c.mu.Unlock()
	if tcp == nil && task != nil {
		task.Leave()
		c.mu.Lock()
		tcp = c.tcp
		c.mu.Unlock()
	}
	if tcp == nil {
		return nil, net.ErrClosed
	}
	return tcp, nil
}

// Close implements [net.Conn]. It may be called by any goroutine.
func (c *Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	c.mu.Lock()
	tcp, l := c.tcp, c.loop
	c.mu.Unlock()
	if l != nil {
		if !l.post(c) {
			l.discard(c)
		}
		return nil
	}
	if tcp != nil {
		return tcp.Close()
	}
	return nil
}

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readDue, c.writeDue = t, t; c.tcp == nil {
		return nil
	}
	return c.tcp.SetDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readDue = t; c.tcp == nil {
		return nil
	}
	return c.tcp.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writeDue = t; c.tcp == nil {
		return nil
	}
	return c.tcp.SetWriteDeadline(t)
}

// CloseWrite ends the direction to the peer.
func (c *Conn) CloseWrite() error {
	tcp, err := c.own()
	if err != nil {
		return err
	}
	return tcp.CloseWrite()
}

// SetLinger is that of [net.TCPConn].
func (c *Conn) SetLinger(seconds int) error {
	tcp, err := c.own()
	if err != nil {
		return err
	}
	return tcp.SetLinger(seconds)
}

// SyscallConn implements [syscall.Conn]. Its functions are for whoever uses c.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return (*raw)(c), nil }

// raw is a Conn as a [syscall.RawConn].
type raw Conn

// Control implements [syscall.RawConn].
func (r *raw) Control(f func(fd uintptr)) error {
	switch {
	case r.closed.Load():
		return net.ErrClosed
	case r.loop == nil && r.poll == nil:
		return net.ErrClosed
	case r.loop == nil:
		return r.poll.Control(f)
	}
	f(uintptr(r.fd))
	return nil
}

// Read implements [syscall.RawConn]. On a loop, the wait for an upstream is the task's, and
// others leave the loop before.
func (r *raw) Read(f func(fd uintptr) bool) error {
	for r.loop != nil {
		switch {
		case r.closed.Load():
			return net.ErrClosed
		case r.task.tired(): // leaves
		case f(uintptr(r.fd)):
			return nil
		case r.task == nil:
			return errIdle
		default:
			r.task.wait((*Conn)(r))
		}
	}
	if r.poll == nil {
		return net.ErrClosed
	}
	return r.poll.Read(f)
}

// Write implements [syscall.RawConn]. A peer that does not take all at once is waited for
// outside of the loop.
func (r *raw) Write(f func(fd uintptr) bool) error {
	for r.loop != nil {
		switch {
		case r.closed.Load():
			return net.ErrClosed
		case r.task.tired(): // leaves
		case f(uintptr(r.fd)):
			return nil
		case r.task == nil:
			return errIdle
		default:
			r.task.Leave()
		}
	}
	if r.poll == nil {
		return net.ErrClosed
	}
	return r.poll.Write(f)
}

// LoopConn is c itself: wrappers of a connection have the method, too.
func (c *Conn) LoopConn() *Conn { return c }
