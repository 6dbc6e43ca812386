package cluster

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// mode is the value of PERFGATE_E2E_CLUSTER: "" is the unit tests alone.
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
