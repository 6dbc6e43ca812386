package node

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that forbids dumps writes no core file and cannot be read by others of its user.
func TestForbidDumps(t *testing.T) {
	if err := ForbidDumps(); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); n != 0 || err != nil {
		t.Errorf("dumpable %d, %v", n, err)
	}
	var core syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &core); err != nil || core != (syscall.Rlimit{}) {
		t.Errorf("core files of %d bytes, %v", core.Cur, err)
	}
}
