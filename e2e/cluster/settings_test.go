package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// mode is what PERFGATE_E2E_CLUSTER asks for: "" is the unit tests alone.
func mode() string { return os.Getenv("PERFGATE_E2E_CLUSTER") }

func torture() bool { return os.Getenv("PERFGATE_TORTURE") != "" }

// processes skips a test that starts perfgate unless that was asked for.
func processes(t testing.TB) {
	t.Helper()
	switch mode() {
	case "":
		t.Skip("starts processes for minutes: set PERFGATE_E2E_CLUSTER=1 (make e2e-cluster)")
	case "bench":
		t.Skip("PERFGATE_E2E_CLUSTER=bench runs the table alone")
	}
}

// amount is a test's size: in CI, with PERFGATE_E2E_CLUSTER=full, and under
// PERFGATE_TORTURE=1.
func amount(ci, full, long int) int {
	switch {
	case torture():
		return long
	case mode() == "full" || mode() == "bench":
		return full
	}
	return ci
}

// size reads a size from the environment, for a quick look or a long one.
func size(name string, standard int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return standard
}

var base = sync.OnceValue(func() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("PERFGATE_SEED"), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano())
})

// chance returns the random choices of a test, and prints how to repeat them.
func chance(t testing.TB) (*rand.Rand, uint64) {
	t.Helper()
	t.Logf("PERFGATE_SEED=%d", base())
	return rand.New(rand.NewPCG(base(), 0)), base()
}

// await polls ok until it returns nil. When limit has passed it fails the test
// and says what it waited for and what was in the way.
func await(t testing.TB, limit time.Duration, what string, ok func() error) {
	t.Helper()
	if err := poll(limit, what, ok); err != nil {
		t.Fatal(err)
	}
}

// poll is await for goroutines that must not end the test.
func poll(limit time.Duration, what string, ok func() error) error {
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
			return fmt.Errorf("waited %v for %s in vain: %w", limit, what, err)
		}
	}
}

// pause waits for d, or less if stop is closed, and tells whether it was d.
func pause(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C:
		return true
	}
}
