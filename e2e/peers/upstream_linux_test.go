package peers

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/perfgate/perfgate/e2e/harness"
)

// upstreamVar holds the address of the upstream in the environment of its process.
const upstreamVar = "PEERS_UPSTREAM"

// answers of the upstream by path, whole.
var answers = map[string][]byte{
	"/1k":      sized(1 << 10),
	"/16k":     sized(16 << 10),
	"/1m":      sized(1 << 20),
	"/chunked": chunked(16<<10, 4<<10),
}

func sized(n int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n))
}

func chunked(n, piece int) []byte {
	out := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range n / piece {
		out = fmt.Appendf(out, "%x\r\n%s\r\n", piece, strings.Repeat("x", piece))
	}
	return append(out, "0\r\n\r\n"...)
}

// startUpstream starts the upstream as a process of its own and returns it with its
// address.
func startUpstream(t testing.TB) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	cmd := exec.Command(self)
	// No signal for preemption: the one goroutine never waits for another.
	cmd.Env = harness.Environment(upstreamVar+"="+addr, "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	if err := harness.Spawn(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	harness.Await(t, startLimit, "the upstream to listen", func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
	return cmd, addr
}

// upstream is one thread that waits in one epoll. It allocates nothing but the state of
// connections.
type upstream struct {
	epoll, listener int
	conns           map[int32]*upConn
	buf             []byte
}

// upConn is the state of a connection between events.
type upConn struct {
	head    []byte // the beginning of a head whose end has not come yet
	answer  []byte // of the request whose body is being read; nil: a head is next
	left    int    // octets of that body that have not come yet
	chunked bool   // its end is the last chunk
	tail    [5]byte
	unsent  []byte // of an answer, after a short send
}

// serveUpstream is the process; it runs until it is killed.
func serveUpstream(addr string) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer f.Close() // not before the end: a file without users is closed
	u := &upstream{listener: int(f.Fd()), conns: map[int32]*upConn{}, buf: make([]byte, 256<<10)}
	if u.epoll, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	if err := u.watch(u.listener, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN); err != nil {
		return err
	}
	events := make([]syscall.EpollEvent, 256)
	for {
		n, err := syscall.EpollWait(u.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			switch c := u.conns[e.Fd]; {
			case int(e.Fd) == u.listener:
				u.accept()
			case c.unsent != nil:
				u.send(int(e.Fd), c, c.unsent)
			default:
				u.receive(int(e.Fd), c)
			}
		}
	}
}

func (u *upstream) watch(fd, op int, events uint32) error {
	return syscall.EpollCtl(u.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

func (u *upstream) accept() {
	fd, _, err := syscall.Accept4(u.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	u.conns[int32(fd)] = &upConn{}
	u.watch(fd, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN)
}

func (u *upstream) end(fd int) {
	delete(u.conns, int32(fd))
	syscall.Close(fd)
}

// receive reads once; if there is more, epoll says so again.
func (u *upstream) receive(fd int, c *upConn) {
	kept := copy(u.buf, c.head)
	n, err := transfer(syscall.SYS_RECVFROM, fd, u.buf[kept:])
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return
	}
	if err != nil || n == 0 {
		u.end(fd)
		return
	}
	c.head = c.head[:0]
	for data := u.buf[:kept+n]; len(data) > 0; {
		if c.answer == nil {
			end := bytes.Index(data, []byte("\r\n\r\n"))
			if end < 0 {
				c.head = append(c.head, data...)
				return
			}
			c.begin(data[:end+2])
			data = data[end+4:]
		}
		if data = c.body(data); c.left > 0 || c.chunked {
			return
		}
		answer := c.answer
		c.answer = nil
		if !u.send(fd, c, answer) {
			return // no proxy sends a request before the answer to the one before it
		}
	}
}

// begin takes a head with its line ends.
func (c *upConn) begin(head []byte) {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	_, path, _ := bytes.Cut(line, []byte(" "))
	path, _, _ = bytes.Cut(path, []byte(" "))
	if c.answer = answers[string(path)]; c.answer == nil {
		c.answer = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	}
	if line[0] == 'G' {
		return
	}
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(field, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			c.left, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			c.chunked, c.tail = true, [5]byte{}
		}
	}
}

// body takes what belongs to the body and returns the rest. A chunked body is over
// with these five octets, since the clients here send nothing but "x" in chunks.
func (c *upConn) body(data []byte) []byte {
	if !c.chunked {
		n := min(c.left, len(data))
		c.left -= n
		return data[n:]
	}
	if n := len(data); n >= len(c.tail) {
		copy(c.tail[:], data[n-len(c.tail):])
	} else {
		copy(c.tail[:], c.tail[n:])
		copy(c.tail[len(c.tail)-n:], data)
	}
	c.chunked = string(c.tail[:]) != "0\r\n\r\n"
	return nil
}

// send reports whether all has been sent; otherwise epoll says when to go on.
func (u *upstream) send(fd int, c *upConn, data []byte) bool {
	n, err := transfer(syscall.SYS_SENDTO, fd, data)
	if err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
		u.end(fd)
		return false
	}
	waited := c.unsent != nil
	if c.unsent = data[max(n, 0):]; len(c.unsent) == 0 {
		c.unsent = nil
	}
	if waits := c.unsent != nil; waits != waited {
		u.watch(fd, syscall.EPOLL_CTL_MOD, map[bool]uint32{true: syscall.EPOLLOUT, false: syscall.EPOLLIN}[waits])
	}
	return c.unsent == nil
}
