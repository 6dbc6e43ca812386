package node

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// ForbidDumps keeps the memory of this process, which holds keys of files and tokens, out
// of core files, and away from other processes of the same user (prctl(2),
// PR_SET_DUMPABLE; setrlimit(2), RLIMIT_CORE).
func ForbidDumps() error {
	var faults []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		faults = append(faults, fmt.Errorf("PR_SET_DUMPABLE: %w", err))
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		faults = append(faults, fmt.Errorf("RLIMIT_CORE: %w", err))
	}
	return errors.Join(faults...)
}
