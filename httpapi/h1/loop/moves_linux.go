package loop

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Land gives c to the loop. When octets have come, or the end, ready is called by a task; it
// reads once, and reports whether c goes on to wait. idle bounds that.
func (l *Loop) Land(c *Conn, idle time.Duration, ready func(*Task) bool) error {
	c.ready, c.idle, c.since = ready, idle, time.Time{}
	if err := l.adopt(c); err != nil {
		return err
	}
	if !l.post(c) {
		l.lift(c)
		return net.ErrClosed
	}
	l.landed.Add(1)
	return nil
}

// adopt moves c, which nobody uses, to the loop. Its place comes later: see enter.
func (l *Loop) adopt(c *Conn) error {
	fd := -1
	err := c.poll.Control(func(old uintptr) { fd, _ = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || fd < 0 {
		return net.ErrClosed
	}
	c.place, c.more, c.hup = -1, false, false
	c.mu.Lock()
	tcp := c.tcp
	c.tcp, c.poll, c.loop, c.fd = nil, nil, l, fd
	c.mu.Unlock()
	tcp.Close()
	if c.closed.Load() { // by one who did not see the loop
		l.post(c)
	}
	return nil
}

// enter has the loop wait for c.
func (l *Loop) enter(c *Conn) {
	if n := len(l.free); n > 0 {
		c.place = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.place = int32(len(l.table))
		l.table, l.turns = append(l.table, nil), append(l.turns, 0)
	}
	c.turn = l.turns[c.place]
	l.table[c.place] = c
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: c.place, Pad: c.turn}
	_ = l.poll.Control(func(epoll uintptr) { _ = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, c.fd, &e) })
}

// leaveTable frees the place of c.
func (l *Loop) leaveTable(c *Conn) {
	if c.place < 0 {
		return
	}
	l.table[c.place] = nil
	l.turns[c.place]++
	l.free = append(l.free, c.place)
	c.place = -1
}

// lift moves c to the runtime's poller. If that fails, c is closed.
func (l *Loop) lift(c *Conn) {
	if c.loop != l {
		return
	}
	_ = l.poll.Control(func(epoll uintptr) { _ = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_DEL, c.fd, nil) })
	l.leaveTable(c)
	f := os.NewFile(uintptr(c.fd), "")
	nc, err := net.FileConn(f)
	f.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loop, c.fd, c.task = nil, -1, nil
	if err != nil {
		return
	}
	c.tcp = nc.(*net.TCPConn)
	c.poll, _ = c.tcp.SyscallConn()
	_ = c.tcp.SetReadDeadline(c.readDue)
	_ = c.tcp.SetWriteDeadline(c.writeDue)
	if c.closed.Load() {
		c.tcp.Close()
	}
}

// post tells the loop that c is new, or to be closed, and reports whether it will know.
func (l *Loop) post(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.inbox = append(l.inbox, c)
	l.wakeLocked()
	return true
}

func (l *Loop) wakeLocked() {
	if !l.running.Load() {
		p := [8]byte{1}
		_, _ = unix.Write(l.wake, p[:])
	}
}

// collect handles the inbox. It reports whether the loop has ended.
func (l *Loop) collect() (ended bool) {
	l.mu.Lock()
	all := l.inbox
	l.inbox, l.ended = nil, l.ending
	ended = l.ending
	l.mu.Unlock()
	for _, c := range all {
		if c.loop != l {
			continue
		}
		if c.closed.Load() {
			l.shut(c)
		} else if c.place < 0 {
			l.enter(c)
		}
	}
	return ended
}

// shut closes the descriptor of c, and tells whoever waits for it.
func (l *Loop) shut(c *Conn) {
	l.leaveTable(c)
	unix.Close(c.fd)
	t := c.task
	c.mu.Lock()
	c.loop, c.fd = nil, -1
	c.mu.Unlock()
	switch {
	case t != nil && t.waits == c:
		l.resume(t)
	case t == nil && c.ready != nil:
		l.begin(c)
	}
}

// discard closes the descriptor of c, an idle upstream, after the end of the loop.
func (l *Loop) discard(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loop == l {
		unix.Close(c.fd)
		c.loop, c.fd = nil, -1
	}
}
