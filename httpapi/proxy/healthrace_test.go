package proxy

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Failures and successes of requests that run beside each other leave a state that
// the next success ends: an upstream that answers does not stay down.
func TestHealthOfConcurrentRequests(t *testing.T) {
	const rounds = 100_000
	err, now := errors.New("refused"), time.Now()
	h := make([]health, rounds)
	for i := range h {
		h[i].log = slog.New(slog.DiscardHandler)
		h[i].failures.Store(failuresToEject - 1)
	}
	var turn [2]atomic.Int64 // keeps the two near each other
	run := func(me int, f func(*health)) {
		for i := range h {
			turn[me].Store(int64(i))
			for spins := 0; turn[1-me].Load() < int64(i) && spins < 1000; spins++ {
			}
			f(&h[i])
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { run(0, func(h *health) { h.fail(now, err) }) })
	wg.Go(func() { run(1, func(h *health) { h.succeed() }) })
	wg.Wait()
	for i := range h {
		if h[i].succeed(); h[i].isDown() || h[i].until.Load() != 0 {
			t.Fatalf("round %d: the upstream has answered last and is down", i)
		}
	}
}
