//go:build !linux

package clock

// boottime is not available: the clock counts from the start of the process.
func boottime() (int64, bool) { return 0, false }

// BootID is not available: times of two processes cannot be compared.
func BootID() string { return "" }
