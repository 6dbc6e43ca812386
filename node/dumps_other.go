//go:build !linux

package node

import "syscall"

// ForbidDumps keeps the memory of this process, which holds keys of files and tokens, out
// of core files (setrlimit(2), RLIMIT_CORE).
func ForbidDumps() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
