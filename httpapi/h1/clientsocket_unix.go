//go:build unix

package h1

import (
	"errors"
	"io"
	"syscall"
)

const canPoll = true

// readNow reads from a descriptor that does not block.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		switch n, err := syscall.Read(int(fd), p); {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, errNothingYet
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// ended reports whether err is the end of a connection that the peer ended in order. It is
// EPIPE if a reset has followed the end.
func ended(err error) bool { return err == io.EOF || errors.Is(err, syscall.EPIPE) }
