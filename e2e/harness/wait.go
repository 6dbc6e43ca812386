package harness

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// Await polls ok until it returns nil. When limit has passed it fails the test with
// the event that it waited for and the last error.
func Await(t testing.TB, limit time.Duration, event string, ok func() error) {
	t.Helper()
	if err := Poll(limit, event, ok); err != nil {
		t.Fatal(err)
	}
}

// Poll is Await for goroutines that must not end the test.
func Poll(limit time.Duration, event string, ok func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("waited %v for %s in vain: %w", limit, event, err)
		}
	}
}

// Pause waits for d, or less if stop is closed, and reports whether it was d.
func Pause(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C:
		return true
	}
}

// Size reads the size of a benchmark or a campaign from the environment variable
// name; the documented figures are of the standard sizes.
func Size(name string, standard int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return standard
}
