//go:build !linux

package h1

import "syscall"

// acknowledged is not known here.
func acknowledged(syscall.RawConn) (n int64, ok bool) { return 0, false }
