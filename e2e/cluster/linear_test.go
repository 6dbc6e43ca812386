package cluster

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// leastRate is the operations a second that a run must have had before its
// fault: a fault among idle clients shows nothing.
const leastRate = 100

// With any fault, the answers to clients are explained by some order of events.
func TestHistories(t *testing.T) {
	processes(t)
	_, seed := chance(t)
	root := os.Geteuid() == 0
	if !root {
		t.Log("not root: without the faults of the network")
	}
	c := start(t, 3, options{netns: root})
	c.roomy()
	var usable []fault
	for _, f := range faults {
		if (root || !f.cuts) && (!f.long || mode() == "full" || torture()) {
			usable = append(usable, f)
		}
	}
	failed := 0
	for n := range harness.Size("HISTORIES", amount(4, 20, 300)) {
		f := usable[n%len(usable)]
		if t.Run(f.name, func(t *testing.T) { oneHistory(t, c, f, seed+uint64(n)) }) {
			continue
		}
		if failed++; failed == 5 || c.becomeReady(readyLimit) != nil {
			t.Fatalf("history %d of seed %d failed, and enough is known", n, seed)
		}
	}
}

// oneHistory runs clients over c, has f break it, and judges their answers.
func oneHistory(t *testing.T, c *cluster, f fault, seed uint64) {
	total := time.Duration(amount(8, 15, 15)) * time.Second
	calm := total / 4
	was := c.t
	c.t = t
	defer func() { c.t = was }()
	w := newWorkload(&c.target, 6, 12, seed)
	w.start()
	harness.Pause(nil, calm)
	rate := w.h.rate(0, w.h.now())
	broken := time.Now()
	f.run(&breaker{c, rand.New(rand.NewPCG(seed, 7)), w.h})
	healed := time.Now()
	ready := c.becomeReady(readyLimit)
	if ended := c.revive(); len(ended) > 0 {
		t.Errorf("%v ended by itself\n%s", ended, c.logs(4))
		ready = c.becomeReady(readyLimit)
	}
	recovered := time.Since(healed)
	harness.Pause(nil, max(calm, total-time.Since(w.h.began)))
	w.end()
	t.Logf("seed %d: %.0f operations a second before the fault, broken for %v, ready %v after", seed, rate,
		healed.Sub(broken).Round(time.Millisecond), recovered.Round(time.Millisecond))
	if rate < leastRate {
		t.Errorf("the run does not count: %.0f operations a second before the fault, want %d", rate, leastRate)
	}
	judge(t, w.h)
	if ready != nil {
		t.Fatal(ready)
	}
}
