package peers

import (
	"syscall"
	"unsafe"
)

// transfer is recvfrom or sendto without an address on a socket that does not block:
// the scheduler of Go need not know of it.
func transfer(call uintptr, fd int, data []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
