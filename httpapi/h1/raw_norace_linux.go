//go:build !race && !386

package h1

import (
	"io"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendRaw sends octets without waiting. It tells the scheduler nothing, which saves about
// 2 µs a request: a call that does not wait is over before another thread could have taken
// the processor.
func sendRaw(fd uintptr, p []byte) (int, error) {
	return transfer(syscall.SYS_SENDTO, fd, p, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

// sendBothRaw is sendRaw of p, which must have an octet, and q after it.
func sendBothRaw(fd uintptr, p, q []byte) (int, error) {
	var parts [2]unix.Iovec
	parts[0].Base, parts[1].Base = unsafe.SliceData(p), unsafe.SliceData(q)
	parts[0].SetLen(len(p))
	parts[1].SetLen(min(len(q), maxRaw))
	msg := unix.Msghdr{Iov: &parts[0]}
	msg.SetIovlen(len(parts))
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&msg)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		runtime.KeepAlive(p)
		runtime.KeepAlive(q)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, errNothingYet
		default:
			return 0, errno
		}
	}
}

// receiveRaw is its counterpart. The end of the connection is io.EOF.
func receiveRaw(fd uintptr, p []byte) (int, error) {
	n, err := transfer(syscall.SYS_RECVFROM, fd, p, syscall.MSG_DONTWAIT)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}
