//go:build race && !386

package h1

import (
	"io"
	"syscall"
)

// sendRaw and receiveRaw go through package syscall, which tells the race detector that
// what was done before a write has happened before the read of it.

func sendRaw(fd uintptr, p []byte) (int, error) {
	return raced(syscall.Write(int(fd), p[:min(len(p), maxRaw)]))
}

func sendBothRaw(fd uintptr, p, _ []byte) (int, error) { return sendRaw(fd, p) }

func receiveRaw(fd uintptr, p []byte) (int, error) {
	n, err := raced(syscall.Read(int(fd), p[:min(len(p), maxRaw)]))
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func raced(n int, err error) (int, error) {
	if err == syscall.EAGAIN || err == syscall.EINTR {
		err = errNothingYet
	}
	return max(n, 0), err
}
