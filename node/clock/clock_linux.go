package clock

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// boottime reads CLOCK_BOOTTIME in nanoseconds.
func boottime() (int64, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, false
	}
	return ts.Nano(), true
}

// BootID identifies the current boot of the machine; "" if it is unknown.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
