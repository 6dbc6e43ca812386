//go:build !linux

package node

// boottime is not available: the clock counts from the process's start.
func boottime() (int64, bool) { return 0, false }

// bootID is not available: no time is comparable across processes.
func bootID() string { return "" }
