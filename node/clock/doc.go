// Package clock reads the time that limits and leases run by.
//
// Limits and leases count nanoseconds that go on while the machine sleeps
// (CLOCK_BOOTTIME) and never go back. Go's monotonic clock costs no system call
// but stands still during suspend, so a [Clock] is that one plus an offset, which
// [Clock.Sync] updates, and [Clock.Read] when the wall clock has moved against Go's. Times of two processes can be compared only within one
// boot of the machine; [BootID] tells boots apart.
//
// The package has no goroutines and no locks. Only Linux has a boot clock:
// elsewhere the clock counts from the start of the process and a suspend is not
// counted.
package clock
