package h1

import "golang.org/x/sys/unix"

// acknowledged is the number of octets that the peer's kernel has acknowledged; -1 if it
// is not known.
func acknowledged(fd uintptr) int64 {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return -1
	}
	return int64(info.Bytes_acked)
}
