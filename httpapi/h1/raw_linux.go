//go:build !386

package h1

import (
	"errors"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canSendRaw says that sendRaw and receiveRaw are there.
const canSendRaw = true

// peekRaw reports whether there is nothing to receive: no octet and no end.
func peekRaw(fd uintptr) (nothing bool) {
	var octet [1]byte
	_, err := transfer(syscall.SYS_RECVFROM, fd, octet[:], syscall.MSG_DONTWAIT|syscall.MSG_PEEK)
	return errors.Is(err, errNothingYet)
}

// pendingRaw is the number of octets that were written and that the peer's kernel has not
// acknowledged; 0 if it is not known.
func pendingRaw(fd uintptr) int {
	var n int32
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0
	}
	return int(n)
}

// transfer makes a system call on p, which has at least one octet, and at most maxRaw.
func transfer(call, fd uintptr, p []byte, flags uintptr) (int, error) {
	p = p[:min(len(p), maxRaw)]
	for {
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		runtime.KeepAlive(p)
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
