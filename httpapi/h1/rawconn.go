package h1

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// maxRaw bounds the octets of a system call, and so its time.
const maxRaw = 64 << 10

// rawConn reads and writes a connection of TCP with fewer scheduler calls than package net
// does. Its deadlines are the connection's. One goroutine may read at a time, and one write.
type rawConn struct {
	raw syscall.RawConn

	in, out   []byte // of the transfer under way
	more      []byte // follows out
	read      int
	readErr   error
	wrote     int
	writeErr  error
	awaited   *input // of await
	onRead    func(fd uintptr) bool
	onReadNow func(fd uintptr) bool
	onAwaited func(fd uintptr) bool
	onWritten func(fd uintptr) bool
}

// newRawConn returns nil for a connection that is not one of TCP itself. A wrapper that
// leaves the octets alone says so by a method TCPConn.
func newRawConn(c net.Conn) *rawConn {
	if w, ok := c.(interface{ LoopConn() *loop.Conn }); ok && canSendRaw {
		if lc := w.LoopConn(); lc != nil {
			raw, _ := lc.SyscallConn()
			return rawConnOf(raw)
		}
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		if w, ok := c.(interface{ TCPConn() *net.TCPConn }); ok {
			tcp = w.TCPConn()
		}
	}
	if tcp == nil || !canSendRaw {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return rawConnOf(raw)
}

func rawConnOf(raw syscall.RawConn) *rawConn {
	r := &rawConn{raw: raw}
	r.onRead = func(fd uintptr) bool {
		r.read, r.readErr = receiveRaw(fd, r.in)
		return !errors.Is(r.readErr, errNothingYet)
	}
	r.onReadNow = func(fd uintptr) bool {
		r.read, r.readErr = receiveRaw(fd, r.in)
		return true
	}
	r.onAwaited = func(fd uintptr) bool {
		in := inputs.Get().(*input)
		if r.read, r.readErr = receiveRaw(fd, in.room()); r.readErr == nil {
			in.took(r.read)
			r.awaited = in
			return true
		}
		in.release()
		return r.readErr != errNothingYet //nolint:errorlint // errors.Is takes half of the smallest stack
	}
	r.onWritten = func(fd uintptr) bool {
		for r.wrote < len(r.out)+len(r.more) {
			n, err := r.sendRest(fd)
			if errors.Is(err, errNothingYet) {
				return false
			}
			if r.writeErr = err; err != nil {
				return true
			}
			r.wrote += n
		}
		return true
	}
	return r
}

// Read implements [io.Reader].
func (r *rawConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.in, r.read, r.readErr = p, 0, nil
	err := r.raw.Read(r.onRead)
	r.in = nil
	if err == nil {
		err = wrapRaw("recvfrom", r.readErr)
	}
	return r.read, err
}

// await waits for octets without a buffer, and returns them in one.
func (r *rawConn) await() (in *input, err error) {
	r.read, r.readErr = 0, nil
	if err := r.raw.Read(r.onAwaited); err != nil {
		return nil, err
	}
	in, r.awaited = r.awaited, nil
	return in, wrapRaw("recvfrom", r.readErr)
}

// Write implements [io.Writer].
func (r *rawConn) Write(p []byte) (int, error) {
	r.out, r.wrote, r.writeErr = p, 0, nil
	err := r.raw.Write(r.onWritten)
	r.out = nil
	if err == nil {
		err = wrapRaw("sendto", r.writeErr)
	}
	return r.wrote, err
}

// WriteBoth writes p, and q after it, in one system call if the kernel takes all. It
// returns how much of each was written.
func (r *rawConn) WriteBoth(p, q []byte) (n, m int, err error) {
	r.more = q
	n, err = r.Write(p)
	r.more = nil
	return min(n, len(p)), max(0, n-len(p)), err
}

// sendRest sends what is left of out and more, at least one octet.
func (r *rawConn) sendRest(fd uintptr) (int, error) {
	switch rest := r.wrote - len(r.out); {
	case rest >= 0:
		return sendRaw(fd, r.more[rest:])
	case len(r.more) > 0:
		return sendBothRaw(fd, r.out[r.wrote:], r.more)
	}
	return sendRaw(fd, r.out[r.wrote:])
}

// wrapRaw is err as package net has it: an error of a connection is a [net.Error].
func wrapRaw(call string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &net.OpError{Op: call, Net: "tcp", Err: os.NewSyscallError(call, errno)}
	}
	return err
}
