package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// TestBenchLimits measures limits that three processes share; make bench-limits.
func TestBenchLimits(t *testing.T) {
	if os.Getenv("PERFGATE_BENCH_LIMITS") == "" {
		t.Skip("set PERFGATE_BENCH_LIMITS=1 (make bench-limits)")
	}
	c := startTrio(t)
	for _, row := range []struct {
		name      string
		perMinute int
		percent   int // of the limit
		at        func(i int) int
	}{
		{"80 % in turn", 600, 80, func(i int) int { return i % 3 }},
		{"80 % at one node", 600, 80, func(int) int { return 1 }},
		{"80 % in turn", 6000, 80, func(i int) int { return i % 3 }},
		{"80 % at one node", 6000, 80, func(int) int { return 1 }},
		{"150 % in turn", 6000, 150, func(i int) int { return i % 3 }},
		{"150 % at one node", 6000, 150, func(int) int { return 1 }},
	} {
		c.measure(row.name, row.perMinute, row.percent, row.at)
	}
}

// measure runs a load for half a minute and logs its figures.
func (c *trio) measure(name string, perMinute, percent int, at func(int) int) {
	c.t.Helper()
	key := c.key(perMinute, perMinute/10)
	c.mu.Lock()
	c.arrived = nil
	c.mu.Unlock()
	before := c.limits()
	every := time.Minute * 100 / time.Duration(perMinute*percent)
	const length = 30 * time.Second
	var all sync.WaitGroup
	var refused, failed atomic.Int64
	began := time.Now()
	n := int(length / every)
	for i := range n {
		harness.Pause(nil, time.Until(began.Add(time.Duration(i)*every)))
		all.Go(func() {
			switch r, err := try("GET", c.nodes[at(i)].proxy+"/", as(key), nil); {
			case err == nil && r.StatusCode == 429:
				refused.Add(1)
			case err != nil || r.StatusCode != 200:
				failed.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	passed := c.check(began, float64(perMinute), float64(perMinute/10))
	least := min(float64(n), float64(perMinute/10)+float64(perMinute)*took.Minutes())
	now := c.limits()
	waits := now.waits - before.waits
	c.t.Logf("%-18s limit %5d: %5d requests, %5d pass (%.2f %% of what one bucket lets through), %d refused, %d failed; %.2f %% waited, mean %.2f ms, %.3f %% over 3 ms; %.1f messages/s",
		name, perMinute, n, passed, 100*float64(passed)/least, refused.Load(), failed.Load(),
		100*waits/float64(n), 1000*(now.seconds-before.seconds)/max(waits, 1), 100*(waits-(now.quick-before.quick))/float64(n), (now.messages-before.messages)/took.Seconds())
}

// figures are metrics of the limits, over all nodes.
type figures struct{ waits, seconds, quick, messages float64 }

var metricPattern = regexp.MustCompile(`(?m)^perfgate_limits_(wait_seconds_count|wait_seconds_sum|wait_seconds_bucket\{le="0.003"\}|messages_total\{[^}]*\}) (\S+)$`)

func (c *trio) limits() (f figures) {
	for _, s := range c.nodes {
		r := do(c.t, "GET", s.admin+"/metrics", nil, nil)
		for _, m := range metricPattern.FindAllStringSubmatch(string(r.Raw), -1) {
			v, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				c.t.Fatal(fmt.Errorf("metric %s: %w", m[1], err))
			}
			switch m[1] {
			case "wait_seconds_count":
				f.waits += v
			case "wait_seconds_sum":
				f.seconds += v
			case `wait_seconds_bucket{le="0.003"}`:
				f.quick += v
			default:
				f.messages += v
			}
		}
	}
	return f
}
