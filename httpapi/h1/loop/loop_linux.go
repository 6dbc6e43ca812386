package loop

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	tick      = 50 * time.Millisecond // between two looks at the tasks under way
	slowTick  = time.Second           // while there are none
	stayTicks = 2                     // of a task on the loop
	batch     = 64                    // events that are taken at once
	yieldEach = 32                    // events, after which other goroutines have a turn
)

// Loop waits for connections, on one goroutine.
type Loop struct {
	file *os.File // of the epoll
	poll syscall.RawConn
	wake int // descriptor of an eventfd

	table  []*Conn // by place
	turns  []int32 // of the places
	free   []int32 // places
	active []*Task // under way
	spare  []*Task // that can begin again
	least  int     // of spare since the last sweep
	events [batch]unix.EpollEvent
	pulse

	landed, left atomic.Int64 // clients, for Counts

	running atomic.Bool // it will look at the inbox before it waits
	mu      sync.Mutex  // guards the fields below
	inbox   []*Conn     // to be closed, or to be waited for
	ending  bool        // Close was called
	ended   bool        // nothing is taken from the inbox any more
}

// pulse is what a loop knows of time and of its end. It is the loop's own.
type pulse struct {
	now     time.Time // of the last look for events
	swept   time.Time
	quick   bool // it ticks every tick
	rest    int  // ticks without a task
	handled int  // events since other goroutines had a turn
	over    bool // Close was called, and all is handled that came before
}

// restTicks is the number of ticks without a task after which a loop ticks slowly.
const restTicks = 20

// New starts a loop.
func New() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else package os does not wait for it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &Loop{file: os.NewFile(uintptr(fd), "epoll"), pulse: pulse{now: time.Now()}}
	if l.poll, err = l.file.SyscallConn(); err == nil {
		if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
			err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: -1})
		}
	}
	if err == nil {
		err = l.file.SetReadDeadline(l.now.Add(slowTick))
	}
	if err != nil {
		l.file.Close()
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *Loop) run() {
	for {
		err := l.poll.Read(l.handle)
		if l.over {
			l.finish()
			return
		}
		if err != nil { // the deadline is that of the next tick
			l.now = time.Now()
			l.tick()
		}
	}
}

// handle handles events until there are none, and returns true at the end of the loop only: the
// runtime notices those that come after a look which has found fewer than it had room for.
func (l *Loop) handle(epoll uintptr) bool {
	for {
		n := l.gather(epoll)
		l.running.Store(true)
		l.now = time.Now()
		if l.over = l.collect(); l.over {
			return true
		}
		for i := range n {
			l.event(&l.events[i])
		}
		if l.handled += n; l.handled >= yieldEach {
			l.handled = 0
			runtime.Gosched()
		}
		if n == batch {
			continue
		}
		l.running.Store(false)
		if !l.hasMail() {
			return false
		}
	}
}

// gather takes events without waiting, and returns their number.
func (l *Loop) gather(epoll uintptr) int {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&l.events[0])), batch, 0, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case syscall.EINTR:
		default:
			return 0
		}
	}
}

func (l *Loop) hasMail() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inbox) > 0 || l.ending
}

// event handles an event.
func (l *Loop) event(e *unix.EpollEvent) {
	if e.Fd < 0 {
		var p [8]byte
		_, _ = unix.Read(l.wake, p[:])
		return
	}
	c := l.table[e.Fd]
	if c == nil || c.turn != e.Pad {
		return
	}
	if c.more = true; e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.hup = true
	}
	switch {
	case c.task != nil && c.task.waits == c:
		l.resume(c.task)
	case c.task == nil && c.ready != nil:
		l.begin(c)
	}
}

// begin has a task serve c.
func (l *Loop) begin(c *Conn) {
	var t *Task
	if n := len(l.spare); n > 0 {
		t = l.spare[n-1]
		l.spare = l.spare[:n-1]
		l.least = min(l.least, n-1)
	} else {
		t = newTask(l)
	}
	t.client, t.ticks, t.steps, t.index = c, 0, 0, len(l.active)
	l.active = append(l.active, t)
	if l.rest = 0; !l.quick {
		l.quick = true
		_ = l.file.SetReadDeadline(l.now.Add(tick))
	}
	c.more = false
	c.mu.Lock()
	c.task = t
	c.mu.Unlock()
	l.resume(t)
}

// resume has t go on until it waits or ends.
func (l *Loop) resume(t *Task) {
	t.next()
	switch t.state {
	case over:
		c := t.client
		l.drop(t)
		t.client, t.upstream, t.onLeave = nil, nil, nil
		if c.loop == l {
			c.mu.Lock()
			c.task = nil
			c.mu.Unlock()
			c.since = time.Time{}
		}
		l.spare = append(l.spare, t)
	case left:
		go t.next()
	}
}

func (l *Loop) drop(t *Task) {
	last := len(l.active) - 1
	l.active[t.index] = l.active[last]
	l.active[t.index].index = t.index
	l.active[last] = nil
	l.active = l.active[:last]
}

// release takes t, and its connections, off the loop.
func (l *Loop) release(t *Task) {
	l.lift(t.client)
	if t.upstream != nil {
		l.lift(t.upstream)
	}
	l.drop(t)
	l.left.Add(1)
	t.loop, t.state = nil, left
}

// tick looks at tasks and connections that may have waited for too long.
func (l *Loop) tick() {
	for i := len(l.active) - 1; i >= 0; i-- {
		if t := l.active[i]; t.ticks < stayTicks {
			t.ticks++
		} else {
			l.release(t)
			go t.next()
		}
	}
	if l.rest++; l.rest > restTicks && len(l.active) == 0 {
		l.quick = false
	}
	if l.now.Sub(l.swept) >= slowTick {
		l.swept = l.now
		l.sweep()
	}
	if l.quick {
		_ = l.file.SetReadDeadline(l.now.Add(tick))
	} else {
		_ = l.file.SetReadDeadline(l.now.Add(slowTick))
	}
}

// sweep closes the clients that have waited for too long, and drops the tasks that were not
// needed since the last one.
func (l *Loop) sweep() {
	for range l.least {
		last := len(l.spare) - 1
		l.spare[last].stop()
		l.spare[last] = nil
		l.spare = l.spare[:last]
	}
	l.least = len(l.spare)
	for _, c := range l.table {
		switch {
		case c == nil || c.ready == nil || c.task != nil || c.idle == 0:
		case c.since.IsZero():
			c.since = l.now
		case l.now.Sub(c.since) >= c.idle:
			c.Close()
		}
	}
}

// Close ends the loop. Connections that wait for a request are closed, and tasks under way
// leave.
func (l *Loop) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ending {
		l.ending = true
		l.wakeLocked()
	}
}

// finish ends the loop. Idle upstreams are their pool's to close.
func (l *Loop) finish() {
	for i := len(l.active) - 1; i >= 0; i-- {
		t := l.active[i]
		l.release(t)
		go t.next()
	}
	for _, c := range l.table {
		if c != nil && c.ready != nil {
			c.closed.Store(true)
			l.shut(c)
		}
	}
	for len(l.spare) > 0 {
		l.least = len(l.spare)
		l.sweep()
	}
	l.file.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	unix.Close(l.wake)
}
