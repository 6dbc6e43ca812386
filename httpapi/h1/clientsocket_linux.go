package h1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acknowledged is the number of octets that the peer's kernel has acknowledged.
func acknowledged(raw syscall.RawConn) (n int64, ok bool) {
	err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			n, ok = int64(info.Bytes_acked), true
		}
	})
	return n, ok && err == nil
}
