package loop

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute

// start starts a loop until the test ends.
func start(t *testing.T) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// pair is a connection with both of its ends.
func pair(t *testing.T) (peer *net.TCPConn, c *Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.SetDeadline(time.Now().Add(patience))
	nc, err := Listener{ln}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return p.(*net.TCPConn), nc.(*Conn)
}

var errNone = errors.New("nothing yet")

// receive reads once without waiting.
func receive(c *Conn) (text string, err error) {
	raw, _ := c.SyscallConn()
	failed := raw.Read(func(fd uintptr) bool {
		p := make([]byte, 1<<10)
		n, e := syscall.Read(int(fd), p)
		switch {
		case e == syscall.EAGAIN:
			err = errNone
		case e != nil:
			err = e
		case n == 0:
			err = io.EOF
		default:
			text = string(p[:n])
		}
		return true
	})
	return text, errors.Join(err, failed)
}

// await reads once, and waits for octets.
func await(c *Conn) (text string, err error) {
	raw, _ := c.SyscallConn()
	failed := raw.Read(func(fd uintptr) bool {
		p := make([]byte, 1<<10)
		n, e := syscall.Read(int(fd), p)
		if e == syscall.EAGAIN {
			return false
		}
		if text = string(p[:max(n, 0)]); e == nil && n == 0 {
			err = io.EOF
		} else if e != nil {
			err = e
		}
		return true
	})
	return text, errors.Join(err, failed)
}

// send writes all.
func send(c *Conn, text string) error {
	raw, _ := c.SyscallConn()
	var err error
	failed := raw.Write(func(fd uintptr) bool {
		for text != "" {
			n, e := syscall.Write(int(fd), []byte(text))
			if e == syscall.EAGAIN {
				return false
			}
			if err = e; e != nil {
				return true
			}
			text = text[n:]
		}
		return true
	})
	return errors.Join(err, failed)
}

// shout answers what comes in capitals, until the end.
func shout(c *Conn, ended chan<- error) func(*Task) bool {
	return func(t *Task) bool {
		text, err := receive(c)
		switch {
		case errors.Is(err, errNone):
			t.Drained()
			return true
		case err != nil:
			c.Close()
			ended <- err
			return false
		}
		if err := send(c, strings.ToUpper(text)); err != nil {
			c.Close()
			ended <- err
			return false
		}
		return true
	}
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

func within[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// asking serves a connection by asking an upstream, each time with what came.
func asking(c, up *Conn, note func(*Task)) func(*Task) bool {
	return func(t *Task) bool {
		text, err := receive(c)
		if err != nil {
			if errors.Is(err, errNone) {
				t.Drained()
				return true
			}
			c.Close()
			return false
		}
		if !t.Use(up) {
			t.Leave()
		}
		note(t)
		err = send(up, text)
		if err == nil {
			text, err = await(up)
		}
		up.Unuse()
		if err != nil {
			text = "error"
		}
		_ = send(c, text)
		return err == nil && !t.Left()
	}
}
